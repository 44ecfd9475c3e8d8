"""A pairs folder's rows with nothing lost: cells as they stand in its table, and values for other formats."""

from pathlib import Path
from typing import Any

import pandas as pd

from data_module.findings import FINDINGS
from data_module.pairs import COLUMNS, METADATA, PairsFolder
from data_module.tables import read_table

INTEGERS = frozenset((*FINDINGS, "seed"))
FLOATS = frozenset(("age",))


def open_exact(root: Path) -> PairsFolder:
    """The folder with columns that are not the contract's as the text that stands there: 007 is no 7."""
    pairs = PairsFolder.open(root)
    path = root / METADATA[0]
    if path.is_file():
        raw = read_table(path, str(path))
        for name in set(raw.columns) & set(pairs.table.columns) - set(COLUMNS):
            pairs.table[name] = raw[name].to_numpy()
    return pairs


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A dictionary a row: findings and seed whole numbers, age a number, all else text; None where empty."""
    return [
        {str(name): _plain(str(name), cell) for name, cell in row.items()} for row in table.to_dict("records")
    ]


def _plain(name: str, cell: Any) -> Any:
    if cell is None or cell is pd.NA or cell != cell:
        return None
    if name in INTEGERS:
        return int(cell)
    if name in FLOATS:
        return float(cell)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def as_cells(row: dict[str, Any]) -> dict[str, str]:
    """A plain row as text, "" where empty."""
    return {
        name: "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in row.items()
    }
