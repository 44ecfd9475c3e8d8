"""What figures are by group, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.metric import Metric
from evaluation.output.cells import Table, format_value

NOTE = (
    "In brackets 95% intervals, patients resampled. p: of the largest of all gaps between groups, adjusted "
    "for all figures and columns of this section (Holm). Groups differ in their findings too, which moves a "
    "figure by itself: a row of floors or of real films shows how far."
)


def group_tables(section: Mapping[str, Any], metrics: Sequence[Metric]) -> list[Table]:
    """One table for each column that --by named."""
    return [_table(column, part, metrics) for column, part in section.get("by", {}).items()]


def _table(column: str, part: Mapping[str, Any], metrics: Sequence[Metric]) -> Table:
    groups = {name: " / ".join(map(str, counts.values())) for name, counts in part["num"].items()}
    header = [f"by {column}", *(f"{name} (n = {num})" for name, num in groups.items())]
    header += ["largest gap (highest, lowest)", "95% interval", "p (Holm)"]
    rows = []
    for metric in metrics:
        beside = ((metric.floor, "floor"), (metric.ceiling, "real"))
        for key, label in ((metric.key, ""), *beside):
            if key and key in part["figures"]:
                title = f"{metric.label}, {label}" if label else metric.label
                rows.append([title, *_cells(part["figures"][key], list(groups), metric.scale)])
    told = [f"n: {' / '.join(next(iter(part['num'].values()), {}))} rows. {NOTE}"] if rows else []
    if part["left_out"]:
        told.append(f"Left out, with fewer than {part['least']} rows: {_list(part['left_out'])}.")
    unknown = [f"{count} {side}" for side, count in part["num_unknown"].items() if count]
    if unknown:
        told.append(f"Rows whose {column} is not known: {' and '.join(unknown)}.")
    return Table(header, rows, " ".join(told))


def _cells(figure: Mapping[str, Any], groups: Sequence[str], scale: float) -> list[str]:
    values, gap = figure["values"], figure["gap"]
    cells = [
        format_value(values.get(name), scale) + _brackets(figure["intervals"].get(name), scale)
        for name in groups
    ]
    if not gap:
        return [*cells, "–", "–", "–"]
    interval = _span(gap["interval"], scale) or "–"
    p = "–" if gap["p_holm"] is None else f"{gap['p_holm']:.3f}"
    between = f" ({gap['high']}, {gap['low']})" if gap["value"] else ""
    return [*cells, format_value(gap["value"], scale) + between, interval, p]


def _brackets(interval: Sequence[float] | None, scale: float) -> str:
    return f" ({_span(interval, scale)})" if interval else ""


def _span(interval: Sequence[float] | None, scale: float) -> str:
    return " to ".join(format_value(value, scale) for value in interval) if interval else ""


def _list(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in reasons.items())
