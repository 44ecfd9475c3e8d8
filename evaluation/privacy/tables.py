"""The tables of the section `privacy`: distances to training films, and copied reports."""

from collections.abc import Mapping
from typing import Any

from evaluation.output.cells import Table, format_interval, format_value
from evaluation.privacy.distances import DISTANCES

COLUMNS = {
    "median": "median",
    "median_real": "real",
    "ratio": "ratio",
    "smallest": "smallest",
    "smallest_real": "real",
    "threshold": "threshold",
    "num_flagged": "flagged",
    "share_close": "share close",
}


def privacy_tables(section: Mapping[str, Any]) -> list[Table]:
    """Distances by kind; shares of copied sentences and reports."""
    sets = f"{section['num_synthetic']} synthetic and {section['num_real']} held-out real films against "
    tables = [_distance_table(section, "distance", f"{sets}{section['num_training']} training films")]
    if held_out := section.get("held_out"):
        sets = f"{section['num_synthetic']} synthetic films, and training films, against "
        sets += f"{section['num_real']} held-out real films"
        tables.append(_distance_table(held_out, "distance to held-out films", sets))
    copies = section.get("reports")
    if copies:
        shares = [
            key for key in copies if key.startswith(("share_", "median_")) and not key.endswith("_real")
        ]
        rows = [
            [key.replace("_", " "), *(format_value(copies[f"{key}{end}"]) for end in ("", "_real"))]
            for key in shares
        ]
        tables.append(Table(("reports against training reports", "synthetic", "held-out real"), rows))
    return tables


def _distance_table(section: Mapping[str, Any], title: str, sets: str) -> Table:
    rows = []
    for name in (name for name in DISTANCES if name in section):
        row = [name]
        for key in COLUMNS:
            row.append(format_value(section[name][key]))
            if key in ("ratio", "share_close"):
                row.append(format_interval(section, f"{name}.{key}") or "–")
        rows.append(row)
    header = [title]
    for key, title in COLUMNS.items():
        header += [title, "95% interval"] if key in ("ratio", "share_close") else [title]
    return Table(header, rows, f"{sets}; near-copies flagged: {section['num_flagged']}.")
