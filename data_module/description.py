"""What is in a pairs folder: counts, report lengths, co-occurrence of findings, and leaks between splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.pairs import SPLITS, PairsFolder, film_paths
from data_module.sources.open_i_reports import text_key
from runtime.files import file_hash

TOGETHER = "Positive together"  # name of the table of 14 x 14
_PERCENTILES = (5, 50, 95, 100)


@dataclass(frozen=True)
class Leak:
    """One way in which a split may know of another.

    Attributes:
        severe: whether it must not be; else it is worth knowing, such as a common sentence in two reports.
        examples: up to five values that show it.
    """

    what: str
    count: int
    severe: bool
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """Tables, name -> DataFrame, and leaks, in the order in which they are shown."""

    folder: str
    tables: Mapping[str, pd.DataFrame]
    leaks: tuple[Leak, ...]


def describe_folder(pairs: PairsFolder) -> Description:
    """Describe a pairs folder. Films are read only where two of different splits have the same size."""
    table = pairs.table
    tables = {
        "Rows": _count_rows(table),
        "Views": _cross(table["view"].fillna("unknown"), table["split"]),
        "Findings": _count_findings(table),
        "Report length (words)": _measure_reports(table),
        TOGETHER: _co_occurrence(pairs.labels),
    }
    gone = _count_gone(pairs)
    if len(gone):
        tables["Films that are not there"] = gone
    leaks = (_patient_leak(table), _film_leak(pairs), _report_leak(table))
    return Description(pairs.root.name, tables, leaks)


def _count_rows(table: pd.DataFrame) -> pd.DataFrame:
    groups = table.groupby("split")
    counts = pd.DataFrame(
        {
            "rows": groups.size(),
            "films": groups["file_name"].count(),
            "reports": groups["report"].apply(lambda texts: int((texts.fillna("") != "").sum())),
            "studies": groups["study_id"].nunique(),
            "patients": groups["patient_id"].nunique(),
        }
    ).reindex([name for name in SPLITS if name in groups.groups])
    counts.loc["all"] = counts.sum()
    # A patient of two splits is one patient.
    counts.loc["all", "patients"] = table["patient_id"].nunique()
    return counts.astype(int)


def _count_gone(pairs: PairsFolder) -> pd.DataFrame:
    """Films of each split that the table names and the folder lacks; no row where all are there."""
    gone = [path is not None and not path.is_file() for path in film_paths(pairs)]
    return pairs.table["split"][gone].value_counts().rename_axis(None).to_frame("films")


def _cross(rows: pd.Series, columns: pd.Series) -> pd.DataFrame:
    names = [name for name in SPLITS if (columns == name).any()]
    counts = pd.crosstab(rows.rename(None), columns.rename(None)).reindex(columns=names, fill_value=0)
    counts = counts.rename_axis(index=None, columns=None)
    return counts.assign(all=counts.sum(axis=1)).sort_values("all", ascending=False)


def _count_findings(table: pd.DataFrame) -> pd.DataFrame:
    codes = table[list(FINDINGS)]
    counts = pd.DataFrame(
        {
            "positive": (codes == POSITIVE).sum(),
            "negative": (codes == NEGATIVE).sum(),
            "uncertain": (codes == UNCERTAIN).sum(),
            "blank": codes.isna().sum(),
        }
    )
    return counts.assign(**{"positive %": (100 * counts["positive"] / max(len(table), 1)).round(1)})


def _measure_reports(table: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    for name in ("report", "findings_section", "impression_section"):
        words = np.array([len(text.split()) for text in table[name].dropna()])
        words = words[words > 0]
        shares = np.percentile(words, _PERCENTILES).round().astype(int) if len(words) else [0] * 4
        rows[name] = [len(words), *shares]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["texts", "5 %", "median", "95 %", "longest"])


def _co_occurrence(labels: np.ndarray) -> pd.DataFrame:
    """Rows in which both findings are positive; on the diagonal those in which one is."""
    positive = (labels == POSITIVE).astype(np.int64)
    return pd.DataFrame(positive.T @ positive, index=FINDINGS, columns=FINDINGS)


def _patient_leak(table: pd.DataFrame) -> Leak:
    splits = table.groupby("patient_id")["split"].nunique()
    leaking = splits.index[splits > 1]
    return Leak("patients in more than one split", len(leaking), True, tuple(map(str, leaking[:5])))


def _film_leak(pairs: PairsFolder) -> Leak:
    """Groups of films with the same bytes in different splits."""
    what = "identical films in different splits"
    if not pairs.has_films:
        return Leak(what, 0, True)
    paths = pairs.image_paths
    sizes = pd.Series([path.stat().st_size if path.is_file() else -1 for path in paths])
    suspects = np.flatnonzero((sizes >= 0) & (pairs.table["split"].groupby(sizes).transform("nunique") > 1))
    keys = [file_hash(paths[row]) for row in suspects]
    groups = _straddling(keys, pairs.table["split"].iloc[suspects], pairs.table["file_name"].iloc[suspects])
    return Leak(what, len(groups), True, tuple(groups[:5]))


def _report_leak(table: pd.DataFrame) -> Leak:
    """Reports that differ in case and punctuation at most. Normal reports are often word for word alike."""
    rows = table[table["report"].fillna("") != ""]
    keys = [text_key(text) for text in rows["report"]]
    groups = _straddling(keys, rows["split"], rows["study_id"].fillna("").astype(str))
    return Leak("identical reports in different splits", len(groups), False, tuple(groups[:5]))


def _straddling(keys: Sequence[str], splits: pd.Series, names: pd.Series) -> list[str]:
    """One line for each key that stands in more than one split: the names of up to three of its rows."""
    rows = pd.DataFrame({"key": list(keys), "split": splits.to_numpy(), "name": names.to_numpy()})
    if rows.empty:
        return []
    spread = rows[rows.groupby("key")["split"].transform("nunique") > 1]
    return [
        " = ".join(map(str, group["name"].unique()[:3])) for _, group in spread.groupby("key", sort=False)
    ]
