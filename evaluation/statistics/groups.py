"""Figures of groups of items, from what each item adds to a figure: nothing is scored twice.

A group's figure is the whole section's estimator with the weights of all other items at 0, so that
neighborhoods, pools and document frequencies are those of all items. Distances of sets, which an item does
not add to, are measured for the group anew where it has enough films (evaluation/images/groups.py), and come
as items of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from evaluation.inputs.groupings import Grouping
from evaluation.metric import Items, Metric
from evaluation.statistics.bootstrap import (
    Estimator,
    draw_weights,
    holm,
    percentile_interval,
    resample,
)
from evaluation.statistics.items import REAL, SYNTHETIC

# With fewer than 20 a gap no p-value stays below 0.05 once it is adjusted.
RESAMPLES_A_GAP = 40
OUTSIDE = -1  # stratum of the items that are not of a group
SIDES = {SYNTHETIC: "synthetic", REAL: "real"}
Share = Callable[[Items, Sequence[np.ndarray]], Items]


@dataclass(frozen=True)
class _Group:
    """A group of one column: the figures of its items."""

    column: str
    name: str
    rows: np.ndarray  # (N,) bool
    estimators: Mapping[str, Estimator]


def group_items(groupings: Sequence[Grouping], tables: Sequence[pd.DataFrame]) -> dict[str, np.ndarray]:
    """The group of each item, by column, for the items of tables one after another."""
    return {
        f"group_{grouping.column}": np.concatenate([grouping.assign(table) for table in tables])
        for grouping in groupings
    }


def whole_items(items: Items, groups: Sequence[np.ndarray]) -> Items:
    """The items as they are: the figures of a section that need nothing in common."""
    return items


def own_key(key: str, column: str, name: str) -> str:
    """What an array that a group alone has is called among the items."""
    return f"{key}@{column}={name}"


def compare_groups(
    metrics: Sequence[Metric],
    items: Items,
    groupings: Sequence[Grouping],
    least: int,
    num: int,
    seed: int,
    share: Share = whole_items,
) -> dict[str, Any]:
    """Column -> figures of its groups, with intervals, and the largest gap of each figure.

    The p-value of a gap is that of the largest of all gaps between groups, in units of their standard
    deviation, against resamples moved to no gap; then adjusted for all figures and columns (Holm).

    Args:
        metrics: those of the section; a figure without a better side, or in no table's row, is left out.
        least: items that a group needs on each side of the section; another is left out, and named.
        num: resamples of patients, more where there are many gaps; 0: neither intervals nor p-values.
        share: (items, groups (N,) bool) -> items for figures that must be over the same findings.
    """
    chosen = {m.key: m for m in metrics if m.row and m.direction != "none" and m.interval != "none"}
    found: dict[str, Any] = {}
    groups: list[_Group] = []
    for grouping in groupings:
        values = items[f"group_{grouping.column}"]
        found[grouping.column], kept = _count(grouping, values, items["stratum"], least)
        masks = [values == name for name in kept]
        shared = share(items, masks) if masks else items
        for name, rows in zip(kept, masks, strict=True):
            own = _items_of(shared, rows, grouping.column, name)
            estimators = {k: e for m in chosen.values() for k, e in m.estimators(own).items()}
            groups.append(_Group(grouping.column, name, rows, estimators))
    estimators = {
        (group.column, group.name, key): _within(estimate, group.rows)
        for group in groups
        for key, estimate in group.estimators.items()
    }
    whole = np.ones((1, len(items["stratum"])), np.float32)
    points = {key: float(estimate(whole)[0]) for key, estimate in estimators.items()}
    num_gaps = len(groupings) * len(chosen)
    num = max(num, RESAMPLES_A_GAP * num_gaps) if num else 0
    drawn = resample(estimators, draw_weights(items["patient"], items["stratum"], num, seed))
    for column, part in found.items():
        sizes = {name: sum(counts.values()) for name, counts in part["num"].items()}
        part["figures"] = _collect(column, sizes, points, drawn) | _fixed(column, sizes, items)
    _adjust([(key, f) for part in found.values() for key, f in part["figures"].items() if key in chosen])
    return found


def _count(
    grouping: Grouping, values: np.ndarray, strata: np.ndarray, least: int
) -> tuple[dict[str, Any], list[str]]:
    """How many items each group has by side, which are left out, and the groups that are compared."""
    sides = [int(side) for side in np.unique(strata)]
    counts = {
        name: {SIDES[side]: int(((values == name) & (strata == side)).sum()) for side in sides}
        for name in grouping.names
    }
    left_out = {
        name: " and ".join(f"{n} {side}" for side, n in count.items() if n < least)
        for name, count in counts.items()
        if min(count.values()) < least
    }
    kept = [name for name in grouping.names if name not in left_out]
    unknown = {SIDES[side]: int(((values == "") & (strata == side)).sum()) for side in sides}
    facts = {
        "least": least,
        "num": {name: counts[name] for name in kept},
        "left_out": left_out,
        "num_unknown": unknown,
    }
    return facts, kept


def _items_of(items: Items, rows: np.ndarray, column: str, name: str) -> dict[str, np.ndarray]:
    """The items as the estimators of one group read them."""
    end = own_key("", column, name)
    own = {key.removesuffix(end): value for key, value in items.items() if key.endswith(end)}
    rest = {key: value for key, value in items.items() if not key.startswith(("influence_", "value_"))}
    return {**rest, **own, "stratum": np.where(rows, items["stratum"], OUTSIDE)}


def _within(estimate: Estimator, rows: np.ndarray) -> Estimator:
    return lambda weights: estimate(weights * rows)


def _collect(
    column: str,
    sizes: Mapping[str, int],
    points: Mapping[tuple[str, str, str], float],
    drawn: Mapping[Any, np.ndarray],
) -> dict[str, Any]:
    """Figure -> values and intervals by group, and its largest gap; without groups of no value."""
    figures: dict[str, Any] = {}
    for (of, name, key), value in points.items():
        if of == column and np.isfinite(value):
            figure = figures.setdefault(key, {"values": {}, "intervals": {}, "gap": None})
            figure["values"][name] = value
            figure["intervals"][name] = percentile_interval(drawn[column, name, key])
    for key, figure in figures.items():
        if len(figure["values"]) > 1:
            resampled = {name: drawn[column, name, key] for name in figure["values"]}
            figure["gap"] = _largest_gap(figure["values"], resampled, sizes)
    return figures


def _fixed(column: str, names: Iterable[str], items: Items) -> dict[str, Any]:
    """Floors and ceilings that a group has without an interval."""
    figures: dict[str, Any] = {}
    for name in names:
        end = own_key("", column, name)
        for key in (key for key in items if key.startswith("fixed_") and key.endswith(end)):
            figure = figures.setdefault(
                key.removeprefix("fixed_").removesuffix(end), {"values": {}, "intervals": {}, "gap": None}
            )
            figure["values"][name] = float(items[key])
    return figures


def _largest_gap(
    values: Mapping[str, float], drawn: Mapping[str, np.ndarray], sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Between which groups it lies, its size and interval, and how seldom as large a one comes by chance."""
    names = list(values)
    high = max(names, key=values.__getitem__)
    low = min(reversed(names), key=values.__getitem__)  # another one also where all are equal
    gap = values[high] - values[low]
    interval = percentile_interval(drawn[high] - drawn[low])
    matrix = np.stack([drawn[name] for name in names])
    known = matrix[:, np.isfinite(matrix).all(axis=0)]
    p = None
    if known.shape[1] >= max(2, matrix.shape[1] // 2):
        centered = known - np.array([[values[name]] for name in names])
        chosen = names.index(high), names.index(low)
        p = _max_p_value(centered, np.array([sizes[name] for name in names]), chosen, gap)
    return {"high": high, "low": low, "value": gap, "interval": interval, "p": p, "p_holm": None}


def _max_p_value(centered: np.ndarray, sizes: np.ndarray, chosen: tuple[int, int], gap: float) -> float:
    """Share of resamples (G, R), moved to no gap, in which any two groups lie as far apart.

    Gaps are counted in standard deviations. That of the observed gap is at least the one that groups of these
    sizes have by the spread of all of them: a small group in which a rare error happens not to occur, or
    occurs everywhere, has no spread of its own, and would be told from any other.
    """
    pooled = np.average(sizes * centered.var(axis=1), weights=sizes) / sizes
    tiny = np.finfo(np.float32).tiny  # of two constants, which differ beyond any doubt or not at all
    largest = np.zeros(centered.shape[1])
    for a, b in combinations(range(len(sizes)), 2):
        distance = np.abs(centered[a] - centered[b])
        largest = np.maximum(largest, distance / max(float((centered[a] - centered[b]).std()), tiny))
    a, b = chosen
    spread = max(float((centered[a] - centered[b]).std()), float(np.sqrt(pooled[a] + pooled[b])), tiny)
    return float((1 + (largest >= gap / spread).sum()) / (1 + len(largest)))


def _adjust(figures: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Write the adjusted p-value of each gap that has one."""
    gaps = [figure["gap"] for _, figure in figures if figure["gap"] and figure["gap"]["p"] is not None]
    for gap, adjusted in zip(gaps, holm([gap["p"] for gap in gaps]), strict=True):
        gap["p_holm"] = adjusted
