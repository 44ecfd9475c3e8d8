"""Data at hand as a pairs folder: images, texts, a `datasets` Dataset. Films go to a scratch folder."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from data_module.findings import FINDINGS
from data_module.labeler import label_reports
from data_module.pairs import COLUMNS, SPLITS, PairsFolder
from evaluation.inputs.rows import PROMPT_COLUMNS, REPORT_COLUMNS


def is_texts(data: Any) -> bool:
    """Whether the data are a list of texts, and not one path."""
    return isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(x, str) for x in data)


def text_folder(reports: Sequence[str], split: str) -> PairsFolder:
    """Reports without films, each of its own patient."""
    table = pd.DataFrame({"report": list(reports)}).reindex(columns=COLUMNS)
    table["study_id"] = table["patient_id"] = [f"{row:09d}" for row in range(len(table))]
    table["split"], table["source"] = split, "at hand"
    return PairsFolder(Path("."), table)


def as_folder(data: Any, name: str, split: str, scratch: Path) -> PairsFolder:
    """Data as a pairs folder; each film is its own patient where nothing says otherwise.

    Args:
        data: a PairsFolder, uint8 (N, H, W), a list of PIL images, or a `datasets` Dataset.
        name: the argument's name, for messages.
        split: where the rows stand, unless the data say another.
        scratch: folder for the films.

    Raises:
        ValueError: data of another kind.
    """
    if isinstance(data, PairsFolder):
        return data
    if hasattr(data, "column_names") and hasattr(data, "features"):
        return _from_dataset(data, name, split, scratch)
    if isinstance(data, np.ndarray) and data.ndim == 3 and data.dtype == np.uint8:
        data = [Image.fromarray(film) for film in data]
    if not (isinstance(data, list | tuple) and data and all(isinstance(x, Image.Image) for x in data)):
        raise ValueError(
            f"{name}: a path, a PairsFolder, uint8 films (N, H, W), PIL images, a datasets Dataset, features "
            f"(N, D) or texts are taken, not {_describe(data)}"
        )
    return _fold(pd.DataFrame({"file_name": _save(data, scratch)}), split, scratch)


def _describe(data: Any) -> str:
    if isinstance(data, np.ndarray):
        return f"an array of {data.dtype} {data.shape}"
    if isinstance(data, list | tuple):
        return f"{len(data)} items of {type(data[0]).__name__}" if data else "an empty list"
    return type(data).__name__


def _save(films: Sequence[Image.Image], scratch: Path) -> list[str]:
    """The films without loss; their names in order."""
    scratch.mkdir(parents=True)
    names = [f"{row:09d}.png" for row in range(len(films))]
    for file, film in zip(names, films, strict=True):
        film.save(scratch / file)
    return names


def _from_dataset(data: Any, name: str, split: str, scratch: Path) -> PairsFolder:
    """Rows of a `datasets` Dataset; an image's own bytes are kept, and decoded as a folder's would be."""
    import datasets

    if isinstance(data, Mapping):
        raise ValueError(f"{name}: a DatasetDict; name one of its splits ({', '.join(data)})")
    pictures = [key for key, kind in data.features.items() if isinstance(kind, datasets.Image)]
    if not pictures:
        raise ValueError(f"{name}: the Dataset has no column of images, only {', '.join(data.column_names)}")
    raw = data.cast_column(pictures[0], datasets.Image(decode=False))
    scratch.mkdir(parents=True)
    names = []
    for row, entry in enumerate(raw[pictures[0]]):
        content = entry["bytes"] if entry["bytes"] is not None else Path(entry["path"]).read_bytes()
        with Image.open(io.BytesIO(content)) as film:
            names.append(f"{row:09d}.{(film.format or 'png').lower()}")
        (scratch / names[-1]).write_bytes(content)
    table = data.remove_columns([*pictures]).to_pandas()
    for column, known in (("report", REPORT_COLUMNS), ("prompt", PROMPT_COLUMNS)):
        found = next((key for key in known if key in table), None)
        if found:
            table[column] = table[found].fillna("").astype(str)
    table["file_name"] = names
    return _fold(table, split, scratch)


def _fold(table: pd.DataFrame, split: str, root: Path) -> PairsFolder:
    labeled = any(name in table for name in FINDINGS)
    table = table.reindex(columns=COLUMNS)
    # A column of text that is not there is one of numbers, NaN, until it is said.
    texts = ("patient_id", "study_id", "prompt", "report", "split", "source")
    table = table.astype(dict.fromkeys(texts, object))
    for column in ("patient_id", "study_id"):
        table[column] = table[column].fillna(table["file_name"]).astype(str)
    for column in ("prompt", "report"):
        table[column] = table[column].fillna("")
    known = table["split"].isin(SPLITS)
    table["split"] = table["split"].where(known, split)
    table["source"] = table["source"].fillna("at hand")
    if not labeled:
        asked = table["prompt"].where(table["prompt"] != "", table["report"])
        table[list(FINDINGS)] = label_reports(asked.tolist())
    return PairsFolder(root, table)
