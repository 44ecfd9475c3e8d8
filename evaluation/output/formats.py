"""Tables in the format that a file's name ends with: .md, .tex or .csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from evaluation.output.cells import Table
from runtime.files import write_atomic

FORMATS = {"markdown": ".md", "latex": ".tex", "csv": ".csv"}


def check_suffix(out: Path) -> Path:
    """`out` as it is; ValueError for a name that says no format."""
    if out.suffix not in FORMATS.values():
        raise ValueError(f"--out {out}: the name must end with {', '.join(FORMATS.values())}")
    return out


def to_latex(tables: Sequence[Table]) -> str:
    """booktabs tables, one after the other, each with its note as a comment."""
    parts = []
    for table in tables:
        columns = [_escape(name) for name in table.header]
        frame = pd.DataFrame([[_escape(cell) for cell in row] for row in table.rows], columns=columns)
        comment = f"% {table.note}\n" if table.note else ""
        parts.append(comment + frame.to_latex(index=False, escape=False))
    return "\n".join(parts)


def to_csv(table: Table) -> str:
    """One table, with its header."""
    return pd.DataFrame(table.rows, columns=list(table.header)).to_csv(index=False)


def write_tables(out: Path, tables: Mapping[str, Table], markdown: str) -> None:
    """Write OUT: `markdown`, or the tables as LaTeX, or the first as CSV and NAME of the others beside it.

    Raises:
        ValueError: the name of OUT says no format.
    """
    if check_suffix(out).suffix == ".md":
        write_atomic(out, markdown)
    elif out.suffix == ".tex":
        write_atomic(out, to_latex(list(tables.values())))
    else:
        for number, (name, table) in enumerate(tables.items()):
            write_atomic(out.with_stem(f"{out.stem}_{name}") if number else out, to_csv(table))


_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
_SPECIAL |= {"^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}


def _escape(cell: object) -> str:
    return "".join(_SPECIAL.get(c, c) for c in str(cell))
