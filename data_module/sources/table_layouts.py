"""Published data sets by name: `prepare_data.py csv --layout NAME` knows what their tables hold.

A layout reads a data set's tables as they were downloaded, one or all in a folder, and gives one table with
a row a film: its path under --images, patient, study, view, sex, age, split, labels, report.
"""

import ast
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from data_module.findings import FINDINGS
from data_module.sections import join_sections
from data_module.sources import vocabularies
from data_module.sources.config import TableConfig
from data_module.sources.vocabularies import Codes
from data_module.splits import TRAIN_OR_VALIDATION
from data_module.tables import read_table

FILM = "film"  # column of a film's path under --images
_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff")


@dataclass(frozen=True)
class LayoutTable:
    """A data set's table, and how it is read.

    Attributes:
        columns: flag of TableConfig (image_column ...) -> the column that plays its part.
        vocabulary: label -> findings; None for the built-in names.
        label_columns: column -> label, where labels are columns of 1, 0 and -1.
        films: where they lie in no files: writes them into a folder, by the names of the image column.
        helpers: columns that the layout added, which are no data.
    """

    table: pd.DataFrame
    columns: Mapping[str, str]
    vocabulary: Mapping[str, Codes] | None
    label_columns: Mapping[str, str] = field(default_factory=dict)
    films: Callable[[Path], None] | None = None
    helpers: tuple[str, ...] = (FILM,)


def read_layout(config: TableConfig) -> LayoutTable:
    """The table of --layout. Raises ValueError where a file or column of it is missing."""
    from data_module.sources import dataset_layout, json_layouts

    readers: dict[str, Callable[[TableConfig], LayoutTable]] = {
        "nih": _read_nih,
        "chexpert": _read_chexpert,
        "chexpert-plus": _read_chexpert_plus,
        "vindr": _read_vindr,
        "padchest": _read_padchest,
        "coco": json_layouts.read_coco,
        "r2gen": json_layouts.read_r2gen,
        "rexrank": json_layouts.read_rexrank,
        "datasets": dataset_layout.read_dataset,
    }
    return readers[config.layout](config)


def find_tables(config: TableConfig, names: Sequence[str]) -> list[Path]:
    """--table, or in a folder of that name the tables there are of `names` (patterns), in their order."""
    path = config.table
    if path.is_file():
        return [path]
    found = [table for name in names for table in sorted(path.rglob(name)) if table.is_file()]
    if not found:
        raise ValueError(f"--table {path}: --layout {config.layout} looks there for {' or '.join(names)}")
    return found


def read_columns(path: Path, config: TableConfig, needed: Iterable[str]) -> pd.DataFrame:
    """One table as text. Raises ValueError where it lacks a column that its data set has."""
    where = f"--table {path}"
    table = read_table(path, where)
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"{where}: --layout {config.layout} needs the column(s) {', '.join(missing)}")
    return table


class FilmFinder:
    """The films under a folder, wherever they lie: the ends of their paths say which is which.

    Args:
        depth: how many parts of a path, its file name among them, name a film.
    """

    def __init__(self, root: Path, depth: int = 1) -> None:
        self.depth, self.found, self.twice = depth, dict[tuple[str, ...], str](), set[tuple[str, ...]]()
        for folder, _, files in os.walk(root):
            for name in files:
                if name.lower().endswith(_SUFFIXES):
                    path = (Path(folder) / name).relative_to(root).as_posix()
                    key = self._key(path)
                    if key in self.found:
                        self.twice.add(key)
                    self.found[key] = path

    def _key(self, path: str) -> tuple[str, ...]:
        pure = PurePosixPath(path)
        stem = pure.name
        while stem.lower().endswith(_SUFFIXES):
            stem = stem.rpartition(".")[0]
        return (*pure.parent.parts, stem)[-self.depth :]

    def find(self, name: str) -> str:
        """The path of a film; `name` itself where it is not there (the row is then skipped, and says so)."""
        key = self._key(name)
        return name if key in self.twice else self.found.get(key, name)


def images_of(config: TableConfig) -> Path:
    """--images, or the folder of the table."""
    return config.images or (config.table if config.table.is_dir() else config.table.parent)


def _read_nih(config: TableConfig) -> LayoutTable:
    (path, *_) = find_tables(config, ("Data_Entry_2017*.csv*",))
    table = read_columns(path, config, ("Image Index", "Finding Labels", "Patient ID", "View Position"))
    films = FilmFinder(images_of(config))
    names = table["Image Index"].str.strip()
    table[FILM] = names.map(films.find)
    table["split"] = ""
    for name, split in (("test_list.txt", "test"), ("train_val_list.txt", TRAIN_OR_VALIDATION)):
        listed = path.parent / name
        if listed.is_file():
            table.loc[names.isin(listed.read_text().split()), "split"] = split
    labels = {label for cell in table["Finding Labels"] for label in cell.split("|")}
    columns = {
        "image_column": FILM,
        "patient_column": "Patient ID",
        "labels_column": "Finding Labels",
        "view_column": "View Position",
        "sex_column": "Patient Gender" if "Patient Gender" in table else "",
        "age_column": "Patient Age" if "Patient Age" in table else "",
        "split_column": "split",
    }
    return LayoutTable(table, columns, vocabularies.complete(vocabularies.NIH, labels))


def _read_chexpert(config: TableConfig) -> LayoutTable:
    parts = []
    for path in find_tables(config, ("train.csv*", "valid.csv*", "test.csv*", "chexpert_train.csv*")):
        table = read_columns(path, config, ("Path", *FINDINGS[1:]))
        parts.append(table.reindex(columns=["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]))
    table = pd.concat(parts, ignore_index=True).fillna("")
    films = FilmFinder(images_of(config), depth=3)
    table[FILM] = table["Path"].map(films.find)
    _name_studies(table, table["Path"], config)
    table["view"] = _views(table["AP/PA"], table["Frontal/Lateral"])
    columns = {"view_column": "view", "sex_column": "Sex", "age_column": "Age", **_STUDIES}
    return LayoutTable(
        table, columns, {name: {name: 1.0} for name in FINDINGS}, {name: name for name in FINDINGS}
    )


def _read_chexpert_plus(config: TableConfig) -> LayoutTable:
    (path, *_) = find_tables(config, ("df_chexpert_plus*.csv*",))
    needed = ("path_to_image", "deid_patient_id", "section_findings", "section_impression", "split")
    table = read_columns(path, config, needed)
    films = FilmFinder(images_of(config), depth=3)
    table[FILM] = table["path_to_image"].map(films.find)
    splits = table["split"]
    _name_studies(table, table["path_to_image"], config)
    table["patient_id"], table["split"] = table["deid_patient_id"], splits
    sections = zip(table["section_findings"], table["section_impression"], strict=True)
    table["both sections"] = [join_sections(findings, impression) for findings, impression in sections]
    columns = {"report_column": "both sections", **_STUDIES}
    if {"ap_pa", "frontal_lateral"} <= set(table):
        table["view"] = _views(table["ap_pa"], table["frontal_lateral"])
        columns["view_column"] = "view"
    columns |= {f"{name}_column": name for name in ("sex", "age") if name in table}
    return LayoutTable(table, columns, {})


_STUDIES = {
    "image_column": FILM,
    "patient_column": "patient_id",
    "study_column": "study_id",
    "split_column": "split",
}


def _name_studies(table: pd.DataFrame, paths: pd.Series, config: TableConfig) -> None:
    """Adds split, patient and study as CheXpert's paths say them: .../train/patient00001/study1/view1.jpg."""
    parts = paths.str.extract(r"(?:^|/)(\w+)/(patient\d+)/(study\d+)/")
    unread = parts.isna().any(axis=1).to_numpy()
    if unread.any():
        row = int(unread.argmax()) + 2
        raise ValueError(
            f"--table {config.table}: row {row} has no path as CheXpert's are (train/patient00001/study1/...)"
        )
    table["split"], table["patient_id"] = parts[0], parts[1]
    table["study_id"] = parts[1] + "_" + parts[2]


def _views(projections: pd.Series, sides: pd.Series) -> pd.Series:
    """PA, AP, or L for laterals."""
    projections = projections.str.strip().str.upper()
    return projections.where(sides.str.strip().str.lower() != "lateral", "L")


def _read_vindr(config: TableConfig) -> LayoutTable:
    """Image-level labels of the readers: 1 where most of them say it, -1 (uncertain) where fewer do."""
    names = ("image_labels_train.csv", "image_labels_test.csv")
    paths = find_tables(config, names)
    if len(paths) == 1 and paths[0].name not in names:
        wide = _read_boxes(paths[0], config)
    else:
        wide = pd.concat([_read_votes(path, config) for path in paths])
    labels = [name for name in wide.columns if name != "split"]
    wide = wide.reset_index()
    films = FilmFinder(images_of(config))
    wide[FILM] = wide["image_id"].map(films.find)
    columns = {"image_column": FILM, "patient_column": "image_id", "study_column": "image_id"}
    vocabulary = vocabularies.complete(vocabularies.VINDR, labels)
    return LayoutTable(
        wide, {**columns, "split_column": "split"}, vocabulary, {name: name for name in labels}
    )


def _read_votes(path: Path, config: TableConfig) -> pd.DataFrame:
    """image_labels_*.csv: a row for each image (and reader), a column of 0 and 1 for each label."""
    table = read_columns(path, config, ("image_id",)).rename(columns=str.strip)
    labels = [name for name in table.columns if name.lower() not in ("image_id", "rad_id")]
    wrong = [name for name in labels if not table[name].str.strip().isin(["0", "1", "0.0", "1.0"]).all()]
    if wrong:
        raise ValueError(
            f"--table {path}: {len(wrong)} of its label columns hold something else than 0 and 1"
        )
    votes = table[labels].astype(float).groupby(table["image_id"], sort=False).mean()
    return _settle(votes, "test" if "test" in path.stem else TRAIN_OR_VALIDATION)


def _read_boxes(path: Path, config: TableConfig) -> pd.DataFrame:
    """annotations_train.csv or Kaggle's train.csv: a row for each box, or for each reader who saw none."""
    table = read_columns(path, config, ("image_id", "class_name", "rad_id"))
    votes = table.drop_duplicates(["image_id", "class_name", "rad_id"])
    readers = table.groupby("image_id", sort=False)["rad_id"].nunique()
    counts = votes.groupby(["image_id", "class_name"]).size().unstack(fill_value=0).reindex(readers.index)
    shares = counts.div(readers, axis=0)
    return _settle(shares, "test" if "test" in path.stem else TRAIN_OR_VALIDATION)


def _settle(votes: pd.DataFrame, split: str) -> pd.DataFrame:
    """Share of the readers who say a label, (0 to 1), -> certainties as text."""
    codes = votes.map(lambda share: "1" if share > 0.5 else "-1" if share > 0 else "0")
    return codes.assign(split=split).rename_axis("image_id")


def _read_padchest(config: TableConfig) -> LayoutTable:
    """The Spanish Report column is not taken for a report: labeler and codec read English."""
    (path, *_) = find_tables(config, ("PADCHEST*.csv*",))
    table = read_columns(path, config, ("ImageID", "PatientID", "Labels"))
    films = FilmFinder(images_of(config))
    table[FILM] = table["ImageID"].map(films.find)
    table["labels"] = ["|".join(_read_list(cell)) for cell in table["Labels"]]
    columns = {"image_column": FILM, "patient_column": "PatientID", "labels_column": "labels"}
    if {"StudyDate_DICOM", "PatientBirth"} <= set(table):
        years = table["StudyDate_DICOM"].str[:4].map(_as_year) - table["PatientBirth"].map(_as_year)
        table["age"] = years.map(lambda age: "" if pd.isna(age) else str(int(age)))
        columns["age_column"] = "age"
    if "Projection" in table:
        table["Projection"] = table["Projection"].replace({"AP_horizontal": "AP"})
    named = {"view": "Projection", "sex": "PatientSex_DICOM", "study": "StudyID"}
    columns |= {f"{flag}_column": name for flag, name in named.items() if name in table}
    labels = {label for cell in table["labels"] for label in cell.split("|") if label}
    return LayoutTable(table, columns, vocabularies.complete(vocabularies.PADCHEST, labels))


def _read_list(cell: str) -> list[str]:
    """The labels of a cell such as "['pleural effusion', ' pacemaker']"; none where it is no list."""
    try:
        labels = ast.literal_eval(cell) if cell.startswith("[") else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [label.strip() for label in labels if isinstance(label, str) and label.strip()]


def _as_year(cell: str) -> float:
    found = re.match(r"\d{4}", cell)
    return float(found[0]) if found else float("nan")
