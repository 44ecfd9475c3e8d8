"""MIMIC-CXR's tables, joined: one row a film with its patient, study, view, split, labels, sex and age.

Columns and codes as PhysioNet describes them for MIMIC-CXR-JPG 2.0.0 and 2.1.0 (Johnson et al., 2019); the
files keep "2.0.0" in their names in both. Labels are kept as they are: 1, 0, -1 or blank.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_module.findings import CERTAINTIES, FINDINGS, label_array
from data_module.sources.config import PAPER_VALIDATION
from data_module.sources.mimic_files import read_columns
from data_module.splits import split_by_patient

METADATA = "mimic-cxr-2.0.0-metadata.csv.gz"
SPLIT = "mimic-cxr-2.0.0-split.csv.gz"
LABELS = {name: f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("chexpert", "negbio")}
IDS = ("subject_id", "study_id", "dicom_id")
_ID_FORMS = {
    "subject_id": r"1[0-9]{7}",
    "study_id": r"[0-9]{8}",
    "dicom_id": r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}",
}
_SPLITS = {"train": "train", "validate": "validation", "test": "test"}
_PAPER_TEST = "19"  # folder p19
# ViewPosition, and where it is blank ViewCodeSequence_CodeMeaning. Other codes (LPO, AP AXIAL, SWIMMERS,
# XTABLE LATERAL ...) are no standard film of the chest and stay as they are.
_VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "L", "LL": "L"}
_CODED_VIEWS = {"postero-anterior": "PA", "antero-posterior": "AP", "lateral": "L", "left lateral": "L"}
_PROJECTIONS = {"PA": "frontal", "AP": "frontal", "L": "lateral", "": ""}


@dataclass(frozen=True)
class Tables:
    """Paths of the tables. `split` may be None for the paper's split, `patients` (of MIMIC-IV) always."""

    metadata: Path
    labels: Path
    split: Path | None = None
    patients: Path | None = None


@dataclass
class FilmTable:
    """Joined films, and what was left out.

    Attributes:
        films: sorted by patient, study and film; columns IDS, view, view_position, projection, split, sex,
            age (years, NaN = unknown), study (row of `labels`).
        labels: (studies, 14) float32 in the order of FINDINGS, NaN = blank.
        skipped: films that cannot be used: `item`, `reason`.
        left_out: films that were not asked for, likewise.
        num_unlabeled: studies without a row in the label table; all their labels are blank.
    """

    films: pd.DataFrame
    labels: np.ndarray
    skipped: list[dict[str, str]]
    left_out: list[dict[str, str]]
    num_unlabeled: int

    def keep(self, usable: np.ndarray) -> None:
        """Keep the rows of a mask (N,)."""
        self.films = self.films[usable].reset_index(drop=True)

    def skip(self, unusable: np.ndarray, reasons: np.ndarray | str) -> None:
        """Move rows (mask) to `skipped`, with one reason for all or a reason for each film (N,)."""
        self.skipped += _as_lines(
            self.films[unusable], reasons if isinstance(reasons, str) else reasons[unusable]
        )
        self.keep(~unusable)


def join_tables(
    tables: Tables,
    split: str,
    views: tuple[str, ...],
    validation_share: float = PAPER_VALIDATION,
    seed: int = 0,
) -> FilmTable:
    """Join the tables film by film.

    Args:
        split: "official", or "paper": folders p10 to p18 train and p19 tests (CXR-IRGen, WACV 2024). The
            paper names no validation films, which training needs to choose by: they come out of p10 to p18.
        views: PA, AP, L, "" (unknown) or another code of ViewPosition.
        validation_share: of the paper's split: share of the patients of p10 to p18 who validate, chosen by a
            hash of `seed` and their number, so that no table is needed for it.

    Raises:
        ValueError: a table that cannot be read.
    """
    columns = (*IDS, "ViewPosition", "StudyDate", "ViewCodeSequence_CodeMeaning")
    films = read_columns(tables.metadata, columns)
    joined = FilmTable(films, np.empty((0, len(FINDINGS)), np.float32), [], [], 0)
    for name, form in _ID_FORMS.items():
        wrong = ~joined.films[name].str.fullmatch(form)
        joined.skip(wrong.to_numpy(bool), f"metadata: {name} is no id of MIMIC-CXR")
    joined.skip(joined.films["dicom_id"].duplicated().to_numpy(), "metadata: duplicate of an earlier row")
    rows = _check_split_table(joined, tables.split) if tables.split else None
    if split == "paper":
        _add_paper_split(joined, validation_share, seed)
    elif rows is None:
        raise ValueError("--split official: the download has no split table")
    else:
        _add_official_split(joined, rows)
    _add_labels(joined, tables.labels)
    _add_views(joined)
    wanted = joined.films["view"].isin([_VIEWS.get(view, view) for view in views]).to_numpy()
    shown = ", ".join(view or '""' for view in views)
    reasons = (
        "left out: view "
        + joined.films["view_position"].replace("", "unknown")
        + f" is not in --views {shown}"
    )
    joined.left_out += _as_lines(joined.films[~wanted], reasons[~wanted].to_numpy())
    joined.keep(wanted)
    _add_patients(joined, tables.patients)
    joined.films = joined.films.sort_values(list(IDS), ignore_index=True)
    return joined


def _as_lines(films: pd.DataFrame, reasons: np.ndarray | str) -> list[dict[str, str]]:
    """Lines of skipped.csv. Ids are cut, since a cell that is no id may hold anything."""
    if isinstance(reasons, str):
        reasons = np.full(len(films), reasons, dtype=object)
    cells = (films[name].str.slice(0, 44) for name in IDS)
    items = (f"p{subject}/s{study}/{dicom}" for subject, study, dicom in zip(*cells, strict=True))
    return [{"item": item, "reason": why} for item, why in zip(items, reasons, strict=True)]


def _add_official_split(joined: FilmTable, rows: pd.DataFrame) -> None:
    splits = rows["split"].map(_SPLITS).set_axis(joined.films.index)
    joined.films["split"] = splits
    joined.skip(splits.isna().to_numpy(), "no split: missing or unknown in the split table")


def _add_paper_split(joined: FilmTable, validation_share: float, seed: int) -> None:
    subjects = joined.films["subject_id"]
    others = split_by_patient(subjects.tolist(), seed, (1.0 - validation_share, validation_share, 0.0))
    names = np.where(subjects.str.startswith(_PAPER_TEST), "test", others)
    joined.films["split"] = pd.Series(names, index=joined.films.index, dtype=str)


def _check_split_table(joined: FilmTable, path: Path) -> pd.DataFrame:
    """The row of the split table for each film that is left, NaN for none; what contradicts the metadata is
    skipped."""
    table = read_columns(path, (*IDS, "split")).drop_duplicates()
    twice = table["dicom_id"][table["dicom_id"].duplicated()]
    joined.skip(
        joined.films["dicom_id"].isin(twice).to_numpy(), "split table: two rows for one film that differ"
    )
    table = table.drop_duplicates("dicom_id").set_index("dicom_id")
    unseen = table[~table.index.isin(joined.films["dicom_id"])].reset_index()
    known = {line["item"] for line in joined.skipped}
    lines = _as_lines(unseen, "in the split table, but not in the metadata")
    joined.skipped += [line for line in lines if line["item"] not in known]
    ids = ["subject_id", "study_id"]
    rows = table.reindex(joined.films["dicom_id"])
    differs = (rows[ids].to_numpy() != joined.films[ids].to_numpy()).any(axis=1)
    joined.skip(
        differs & rows["split"].notna().to_numpy(),
        "split and metadata tables name different patients or studies",
    )
    return table.reindex(joined.films["dicom_id"])


def _add_labels(joined: FilmTable, path: Path) -> None:
    rows = read_columns(path, ("subject_id", "study_id", *FINDINGS)).drop_duplicates()
    codes = rows[list(FINDINGS)].apply(lambda column: pd.to_numeric(column, errors="coerce"))
    wrong = ((codes.isna() & (rows[list(FINDINGS)] != "")) | ~(codes.isna() | codes.isin(CERTAINTIES))).any(
        axis=1
    )
    films = joined.films
    reasons = np.full(len(films), "", dtype=object)
    for studies, why in (
        (rows["study_id"][wrong], "labels: a code is not 1, 0, -1 or blank"),
        (
            rows["study_id"][rows["study_id"].duplicated(keep=False)],
            "labels: two rows for one study that differ",
        ),
    ):
        reasons[films["study_id"].isin(studies).to_numpy()] = why
    coded = rows.assign(**{name: codes[name] for name in FINDINGS})
    unique = coded.drop_duplicates("study_id").set_index("study_id")
    subjects = unique["subject_id"].reindex(films["study_id"])
    differs = (subjects.notna().to_numpy()) & (subjects.to_numpy() != films["subject_id"].to_numpy())
    reasons[differs & (reasons == "")] = "labels and metadata tables name different patients"
    joined.skip(reasons != "", reasons)
    places, studies = pd.factorize(joined.films["study_id"])
    joined.films["study"] = places
    joined.labels = label_array(unique.reindex(studies))
    joined.num_unlabeled = int((~pd.Index(studies).isin(unique.index)).sum())


def _add_views(joined: FilmTable) -> None:
    films = joined.films
    position = films["ViewPosition"].str.strip().str.upper()
    code = films["ViewCodeSequence_CodeMeaning"].str.strip().str.lower()
    coded = code.map(_CODED_VIEWS).astype(object).fillna("")
    view = position.map(_VIEWS).astype(object).fillna(position)
    films["view_position"] = position
    films["view"] = view.where(position != "", coded)
    films["projection"] = films["view"].map(_PROJECTIONS).astype(object).fillna("other")


def _add_patients(joined: FilmTable, path: Path | None) -> None:
    """Sex and age from MIMIC-IV's patients table: the dates of both are shifted alike for each patient."""
    films = joined.films
    films["sex"], films["age"] = "", np.nan
    if path is None:
        return
    rows = read_columns(path, ("subject_id", "gender", "anchor_age", "anchor_year"))
    rows = rows.drop_duplicates("subject_id").set_index("subject_id").reindex(films["subject_id"])
    sex = rows["gender"].where(rows["gender"].isin(["F", "M"]), "")
    numbers: Mapping[str, np.ndarray] = {
        name: pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=float)
        for name in ("anchor_age", "anchor_year")
    }
    year = pd.to_numeric(films["StudyDate"].str.slice(0, 4), errors="coerce").to_numpy(dtype=float)
    age = numbers["anchor_age"] + year - numbers["anchor_year"]
    films["sex"] = sex.fillna("").to_numpy()
    films["age"] = np.where((age >= 0) & (age <= 120), age, np.nan)
