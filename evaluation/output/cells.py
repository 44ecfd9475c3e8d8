"""Tables of strings, and how values and intervals are written in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table of strings, with a sentence below it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def format_value(value: Any, scale: float = 1.0) -> str:
    """Integers as they are, others with three decimals (one from 100), a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value * scale:.1f}" if abs(value * scale) >= 100.0 else f"{value * scale:.3f}"


def format_interval(section: Mapping[str, Any], key: str, scale: float = 1.0) -> str:
    """ "low to high" of a figure, empty where it has no interval."""
    interval = (section.get("intervals") or {}).get(key)
    return " to ".join(format_value(v, scale) for v in interval) if interval else ""
