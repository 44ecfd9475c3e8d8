"""Cells, names and labels in messages: what may be shown of a stranger's table, which may have no header or
a text in the wrong column."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from data_module.findings import FINDINGS

_USUAL_NAMES = {
    *("image", "images", "image path", "file", "file name", "filename", "film", "path", "img", "png", "jpg"),
    *("patient", "patient id", "subject", "subject id", "study", "study id", "dicom id", "id", "uid"),
    *("report", "reports", "text", "note", "notes", "findings", "finding", "impression", "prompt", "caption"),
    *("findings section", "impression section", "label", "labels", "certainty", "view", "viewposition"),
    *("sex", "gender", "age", "split", "reference", "seed", "source", "item", "reason", "mesh"),
    *(finding.lower() for finding in FINDINGS),
}
_DATA_CELL = re.compile(
    r".*\.(png|jpe?g|dcm|dicom|tiff?|bmp|txt)|-?\d[\d.,:/-]*", re.IGNORECASE
)  # and no name


def normalize_name(name: str) -> str:
    """Names of columns and labels are compared without case, underscores, hyphens and doubled spaces."""
    return " ".join(re.split(r"[\s_-]+", name.strip().lower())).strip()


def has_usual_name(names: Iterable[str]) -> bool:
    """Whether one of the names is one that columns often have: the line is a header then."""
    return any(normalize_name(str(name)) in _USUAL_NAMES for name in names)


def quote_cell(value: object) -> str:
    """A cell for an error message: a number or a word in small letters, and nothing that may be a name."""
    text = str(value)
    return repr(value) if re.fullmatch(r"-?[\d.]{1,12}|[a-z]{1,12}", text) else hide(text)


def hide(text: str) -> str:
    """What a message says in the place of a text."""
    return f"a text of {len(text)} characters"


def quote_name(cell: object) -> str:
    """A file name or id for an error message; anything with spaces may be a patient's text in its place."""
    text = str(cell)
    return repr(text) if re.fullmatch(r"[^\s,;]{1,100}", text) else hide(text)


def quote_columns(table: pd.DataFrame) -> str:
    """Column names for an error message. Without a header they are cells of the first row, which may hold
    anything: none is shown then, and never one that reads as a text."""
    names = [str(name) for name in table.columns]
    if any(_DATA_CELL.fullmatch(name) for name in names):
        return "no header: its first row looks like data"
    if not has_usual_name(names):
        return f"{len(names)} columns, none of them of a usual name: does its first row hold names?"
    shown = [name if may_show(names, name) else hide(name) for name in names[:50]]
    return ", ".join(shown)


def may_show(names: Sequence[str], name: str) -> bool:
    return has_usual_name(names) and len(name) <= 40 and len(name.split()) <= 3 and not name.endswith(".")
