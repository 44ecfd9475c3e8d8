"""The layout of a `datasets` data set on disk: save_to_disk's folder, or one as the hub holds them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from data_module.sources.config import TableConfig
from data_module.sources.table_layouts import FILM, LayoutTable
from data_module.splits import SPLIT_WORDS
from runtime.files import write_atomic

_HELPERS = (FILM, "each film", "__key__", "__url__")


def read_dataset(config: TableConfig) -> LayoutTable:
    """Every split's rows. The flags name the columns; images keep their bytes and are decoded as files."""
    splits = _open(config.table)
    column = _find_images(config, next(iter(splits.values())))
    parts = []
    for name, split in splits.items():
        part = _spread(split.remove_columns([column]).to_pandas())
        others = [key for key in part if part[key].map(lambda cell: isinstance(cell, dict | bytes)).any()]
        for key, kind in split.features.items():
            words = getattr(kind, "names", None) or getattr(getattr(kind, "feature", None), "names", None)
            if words and key in part:  # classes are numbers there
                part[key] = part[key].map(partial(_name_classes, words))
        part = part.drop(columns=others).astype(object).map(_as_text)
        if "split" not in part:
            part["split"] = SPLIT_WORDS.get(name.lower(), "")
        part[FILM] = [f"{name}/{row:08d}" for row in range(len(split))]
        if "file_name" not in part:
            part["file_name"] = _paths(split, column, config.table / name) or part[FILM]
        parts.append(part)
    table = pd.concat(parts, ignore_index=True).fillna("")
    if "__key__" in table and "patient_id" not in table:
        table["patient_id"] = table["__key__"]
    columns = {"image_column": FILM, "split_column": config.split_column or "split"}
    if config.patient_column not in table:
        if config.patient_column != TableConfig.patient_column:
            raise ValueError(f"--patient-column {config.patient_column!r}: {config.table} has no such column")
        table["each film"] = table[FILM]  # without patients each film counts as another's
        columns["patient_column"] = "each film"
    films = partial(_write_films, splits, column)
    return LayoutTable(table, columns, None, films=films, helpers=_HELPERS)


def _open(path: Path) -> Mapping[str, Any]:
    """Split -> its `datasets.Dataset`."""
    import datasets
    from datasets.exceptions import DatasetsError

    opened: Any
    if not path.is_dir():
        raise ValueError(f"--table {path}: --layout datasets takes a folder: a saved or hub-style data set")
    saved = (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()
    try:
        if saved:
            opened = datasets.load_from_disk(str(path))
            opened = opened if isinstance(opened, datasets.DatasetDict) else {"": opened}
        else:
            opened = _load_configurations(path)
    except (OSError, ValueError, DatasetsError) as error:
        raise ValueError(f"--table {path}: `datasets` cannot read it ({type(error).__name__})") from None
    if not opened:
        raise ValueError(f"--table {path}: no split in it")
    return opened


def _load_configurations(path: Path) -> dict[str, Any]:
    """The splits of every configuration, since a card may give each split one of its own."""
    import datasets

    found: dict[str, Any] = {}
    for name in datasets.get_dataset_config_names(str(path)):
        for split, rows in datasets.load_dataset(str(path), name).items():
            if split in found:
                raise ValueError(f"--table {path}: two configurations have a split {split!r}")
            found[str(split)] = rows
    return found


def _find_images(config: TableConfig, split: Any) -> str:
    """--image-column, or by default the one column of images."""
    import datasets

    images = [name for name, kind in split.features.items() if isinstance(kind, datasets.Image)]
    if config.image_column in split.column_names:
        return config.image_column
    if config.image_column != TableConfig.image_column or len(images) != 1:
        names = ", ".join(split.column_names)
        raise ValueError(
            f"--image-column {config.image_column!r}: {config.table} has no such column; it has {names}"
        )
    return images[0]


def _spread(table: pd.DataFrame) -> pd.DataFrame:
    """A WebDataset's `json` as columns of their own; `txt` then is the report again."""
    if "json" not in table:
        return table
    columns = pd.DataFrame(table["json"].tolist(), index=table.index)
    texts = [] if "report" not in columns else ["txt"]
    return pd.concat([table.drop(columns=["json", *texts], errors="ignore"), columns], axis="columns")


def _name_classes(words: Sequence[str], cell: Any) -> Any:
    """The words of one class, or of several."""
    if cell is None:
        return None
    return [words[int(one)] for one in cell] if hasattr(cell, "__len__") else words[int(cell)]


def _as_text(cell: Any) -> str:
    """A cell as a CSV table would have it; lists are joined as labels are."""
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    if isinstance(cell, list | tuple):
        return "|".join(map(str, cell))
    missing = cell is None or cell != cell
    return "" if missing else str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _raw(split: Any, column: str) -> Any:
    import datasets

    return split.cast_column(column, datasets.Image(decode=False))


def _paths(split: Any, column: str, folder: Path) -> list[str]:
    """The name of each image under the split's folder, where each has one of its own."""
    places = [Path(entry["path"] or "") for entry in _raw(split, column)[column]]
    names = [
        (place.relative_to(folder) if place.is_relative_to(folder) else Path(place.name)).as_posix()
        for place in places
    ]
    return names if len(set(names)) == len(names) and all(place.name for place in places) else []


def _write_films(splits: Mapping[str, Any], column: str, folder: Path) -> None:
    """Each image's own bytes to folder/SPLIT/ROW."""
    for name, split in splits.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row, entry in enumerate(_raw(split, column)[column]):
            target = folder / name / f"{row:08d}"
            if not target.is_file():
                content = entry["bytes"] if entry["bytes"] is not None else Path(entry["path"]).read_bytes()
                write_atomic(target, content, durable=False)
