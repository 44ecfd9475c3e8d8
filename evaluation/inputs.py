"""What the scores read: films and reports of pairs folders, and tables of generated reports."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from data_module.findings import FINDINGS, prompt_sentence
from data_module.pairs import PairsFolder

DEFAULT_REPORTS = "heldout_reports.csv"  # in the synthetic folder: image -> report on the real held-out films


def film_paths(folder: PairsFolder) -> list[Path | None]:
    """Path of each row's film, None for a row without one."""
    names = folder.table["file_name"]
    return [None if pd.isna(name) or not name else folder.root / name for name in names]


def row_names(folder: PairsFolder) -> list[str]:
    """What to call each row in a message: its film, or its study where there is no film."""
    column = "file_name" if folder.has_films else "study_id"
    return folder.table[column].astype(str).tolist()


def texts(folder: PairsFolder) -> list[str]:
    """The reports, one a row."""
    return folder.table["report"].fillna("").astype(str).tolist()


def prompts(folder: PairsFolder) -> list[str]:
    """What each film was asked for: its prompt, else the prompt sentence of its findings, else nothing."""
    sentences = []
    for prompt, row in zip(folder.table["prompt"], folder.labels, strict=True):
        labels = {name: code for name, code in zip(FINDINGS, row.tolist(), strict=True) if code == code}
        sentences.append(str(prompt) if prompt and not pd.isna(prompt) else _sentence(labels))
    return sentences


def _sentence(labels: dict[str, float]) -> str:
    return prompt_sentence(labels) if labels else ""


def hash_folder(folder: PairsFolder) -> str:
    """Short hash of the rows and the films' sizes; unlike `manifest_hash`, a missing film is no error."""
    sizes = [path.stat().st_size if path and path.is_file() else -1 for path in film_paths(folder)]
    return hashlib.sha256((folder.table.to_csv(index=False) + str(sizes)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ReportPairs:
    """Generated reports beside the real reports of the same rows."""

    references: list[str]
    hypotheses: list[str]
    names: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def match_reports(path: Path, real: PairsFolder, split: str) -> ReportPairs:
    """Match a table of generated reports to the rows of `real`'s split, by name and never by position.

    Args:
        path: CSV with `report` and `file_name` (or `study_id`, for a text-only folder).

    Raises:
        ValueError: no such file, a column missing, a row twice, or no row of the split in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"--reports {path}: no such file. It holds generated reports of {real.root}'s films of split "
            f"{split!r}, columns file_name and report"
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"--reports {path} cannot be read as a CSV table: {error}") from error
    key = "file_name" if real.has_films else "study_id"
    missing = [name for name in (key, "report") if name not in table.columns]
    if missing:
        raise ValueError(
            f"--reports {path}: column(s) {', '.join(missing)} missing; it has {', '.join(table.columns)}"
        )
    twice = table[key][table[key].duplicated()]
    if len(twice):
        raise ValueError(f"--reports {path}: {key} {twice.iloc[0]!r} stands in more than one row")
    generated = dict(zip(table[key], table["report"], strict=True))
    rows = real.split(split).table
    repeated = rows[key][rows[key].duplicated()]
    if len(repeated):
        raise ValueError(
            f"{real.root}: {key} {repeated.iloc[0]!r} names more than one row of split {split!r}"
        )
    found = rows[rows[key].isin(table[key])]
    if found.empty:
        raise ValueError(f"--reports {path}: no {key} of {real.root}'s split {split!r} stands in it")
    known = set(real.table[key].dropna())
    hypotheses = [generated[name] for name in found[key]]
    counts = {
        "num_scored": len(found),
        "num_rows_of_split": len(rows),
        "num_outside_split": sum(name in known for name in generated) - len(found),
        "num_unknown": sum(name not in known for name in generated),
        "num_empty_reports": sum(not text.strip() for text in hypotheses),
    }
    return ReportPairs(
        found["report"].tolist(), hypotheses, found[key].tolist(), found["patient_id"].tolist(), counts
    )
