"""The table of the section `pairs` besides its metrics: retrieval."""

from collections.abc import Mapping
from typing import Any

from evaluation.output.cells import Table, format_interval, format_value
from evaluation.pairs.retrieval import DIRECTIONS, RANKS


def pair_tables(section: Mapping[str, Any]) -> list[Table]:
    """Retrieval beside chance, of synthetic and of real pairs."""
    rows, pools = [], []
    for direction in DIRECTIONS:
        for end in ("", "_real"):
            found = (section.get(f"retrieval{end}") or {}).get(direction)
            if found:
                pools.append(found["pool"])
                row = [direction.replace("_", " ") + (", real pairs" if end else "")]
                for k in RANKS:
                    interval = format_interval(section, f"retrieval{end}.{direction}.r@{k}")
                    row += [
                        format_value(found.get(f"r@{k}")),
                        interval or "–",
                        format_value(k / found["pool"]),
                    ]
                rows.append(row)
    if not rows:
        return []
    header = ["retrieval", *(cell for k in RANKS for cell in (f"R@{k}", "95% interval", "chance"))]
    return [Table(header, rows, f"Pools of {pools[0]} items.")]
