"""For whom figures are told apart: a column of a pairs table, numbers cut at named edges or at quartiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

MAX_GROUPS = 12
FEW_NUMBERS = 5  # a column of so many different numbers holds codes, such as the findings', and is not cut
IDENTITIES = ("file_name", "report", "findings_section", "impression_section", "patient_id", "study_id")


@dataclass(frozen=True)
class Grouping:
    """Groups of the rows of any table by one of its columns.

    Attributes:
        names: the groups in their order.
        edges: where numbers are cut; an edge belongs to the group above it. None: values as they are.
    """

    column: str
    names: tuple[str, ...]
    edges: tuple[float, ...] | None = None

    def assign(self, table: pd.DataFrame) -> np.ndarray:
        """(N,) str: the group of each row, "" where the column says nothing."""
        if self.column not in table:
            return np.full(len(table), "", dtype=str)
        if self.edges is None:
            return np.array(_texts(table[self.column]), dtype=str)
        numbers = pd.to_numeric(table[self.column], errors="coerce").to_numpy(float)
        places = np.searchsorted(self.edges, numbers, side="right")
        return np.where(np.isfinite(numbers), np.array(self.names)[places], "")


def read_groupings(
    wanted: Sequence[str], real: pd.DataFrame, synthetic: pd.DataFrame | None = None
) -> list[Grouping]:
    """Groupings from what --by names: COLUMN, or COLUMN:EDGE,EDGE for numbers.

    Args:
        real: rows whose quartiles cut a column of numbers that has no edges, for both sides alike.
        synthetic: further rows, whose values are groups too.

    Raises:
        ValueError: a column that is not there, says nothing, or makes too many groups; edges that are none.
    """
    found = [_read(text, real, synthetic) for text in wanted]
    columns = [grouping.column for grouping in found]
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"--by {column}: named twice")
    return found


def _read(text: str, real: pd.DataFrame, synthetic: pd.DataFrame | None) -> Grouping:
    column, colon, cuts = (text, "", "") if text in real else text.rpartition(":")
    column = column if colon else text
    tables = [table for table in (real, synthetic) if table is not None and column in table]
    known = sorted({value for table in tables for value in _texts(table[column]) if value})
    if not known or column in IDENTITIES:
        usable = [str(name) for name in real if name not in IDENTITIES and any(_texts(real[name]))]
        why = "says nothing" if column in real else "is not there"
        why = "is no column to group by" if known else why
        raise ValueError(f"--by {text}: {column or 'the column'} {why}; choose of {', '.join(usable)}")
    numbers = pd.to_numeric(pd.Series(known), errors="coerce").to_numpy(float)
    numeric = bool(np.isfinite(numbers).all())
    if colon and not numeric:
        raise ValueError(f"--by {text}: {column} holds words, which have no edges; write --by {column}")
    if colon or (numeric and len(set(numbers)) > FEW_NUMBERS):
        edges = _parse_edges(text, cuts) if colon else _quartiles(real[column])
        return Grouping(column, _name_cuts(edges), edges)
    if len(known) > MAX_GROUPS:
        raise ValueError(
            f"--by {text}: {column} has {len(known)} values; groups are compared up to {MAX_GROUPS} of them"
        )
    return Grouping(column, tuple(sorted(known, key=float) if numeric else known))


def _texts(values: pd.Series) -> list[str]:
    """Cells as words: "" for none, and whole numbers without a point."""
    cells = ("" if pd.isna(value) else value for value in values)
    whole = (int(cell) if isinstance(cell, float) and cell.is_integer() else cell for cell in cells)
    return [str(cell).strip() for cell in whole]


def _parse_edges(text: str, cuts: str) -> tuple[float, ...]:
    try:
        edges = tuple(float(cut) for cut in cuts.split(","))
    except ValueError:
        edges = ()
    if not edges or not np.isfinite(edges).all() or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"--by {text}: edges are rising numbers with commas between them, such as age:40,60")
    if len(edges) >= MAX_GROUPS:
        raise ValueError(f"--by {text}: {len(edges)} edges; groups are compared up to {MAX_GROUPS} of them")
    return edges


def _quartiles(values: pd.Series) -> tuple[float, ...]:
    """The inner quartiles, each once, without a lowest group that would be empty."""
    numbers = pd.to_numeric(values, errors="coerce").dropna().to_numpy(float)
    if not len(numbers):
        return ()
    cuts = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75), method="inverted_cdf"))
    return tuple(float(cut) for cut in cuts if cut > numbers.min())


def _name_cuts(edges: Sequence[float]) -> tuple[str, ...]:
    if not edges:
        return ("all",)
    between = [f"{a:g} to {b:g}" for a, b in pairwise(edges)]
    return (f"under {edges[0]:g}", *between, f"{edges[-1]:g} up")
