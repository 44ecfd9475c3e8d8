"""Two scored systems beside each other: paired differences, intervals, and adjusted p-values.

A figure with a better side is compared as it is. One that should come near the figure of real films ("as
floor", "as real") is compared by its distance to it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.filters.kept import describe_kept
from evaluation.inputs.results import read_results
from evaluation.metric import ROOMS, Items, Metric, metrics_of
from evaluation.output.cells import Table
from evaluation.output.formats import check_suffix, write_tables
from evaluation.output.systems_plot import draw_systems
from evaluation.statistics.bootstrap import (
    Estimator,
    draw_weights,
    holm,
    p_value,
    percentile_interval,
    resample,
)
from evaluation.statistics.items import load_items
from runtime.files import write_atomic
from runtime.markdown import markdown_table

HEADER = ("figure", "A", "B", "A - B", "95% interval", "p", "p (Holm)", "verdict", "items")


@dataclass(frozen=True)
class Difference:
    """One figure of systems A and B."""

    section: str
    name: str
    a: float
    b: float
    interval: list[float] | None  # of A - B
    p: float
    paired: bool  # whether both were given the same draws of synthetic items
    lower_is_better: bool
    target: str = ""  # "floor" or "real": a and b are distances to this
    p_holm: float = float("nan")

    @property
    def verdict(self) -> str:
        """Which system is better at 5% after adjustment, or that neither can be told from the other."""
        if not self.p_holm < 0.05:
            return "no difference shown"
        return "A better" if (self.a < self.b) == self.lower_is_better else "B better"

    @property
    def label(self) -> str:
        """What a table calls it."""
        return f"{self.section}.{self.name}" + (f", distance to {self.target}" if self.target else "")


@dataclass
class Comparison:
    """Differences, and figure -> why it is left out."""

    differences: list[Difference] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def compare_systems(a: Path, b: Path, out: Path, num: int = 2000, seed: int = 0) -> str:
    """Write OUT (.md, .tex or .csv) and OUT with .json of every figure that both folders hold items of, and
    OUT_figures.svg and .pdf of those that results.json of both hold.

    Items are paired where both systems were scored on the same ones (same films, reports or prompts, of the
    same patients); otherwise each system is resampled on its own.

    Returns:
        The Markdown.

    Raises:
        ValueError: a folder that holds no items, or none in common.
    """
    check_suffix(out)
    found = Comparison()
    for section in ROOMS:
        missing = [name for name, x in (("A", a), ("B", b)) if not _items_path(x, section).is_file()]
        if missing:
            found.left_out[section] = _lack(missing)
        else:
            _compare_section(section, a, b, num, seed, found)
    if not found.differences:
        raise ValueError(f"{a} and {b} hold no section in common: score both with `python -m evaluation all`")
    adjusted = holm([entry.p for entry in found.differences])
    differences = [replace(e, p_holm=p) for e, p in zip(found.differences, adjusted, strict=True)]
    table = Table(HEADER, [_row(entry) for entry in differences])
    text = _render(table, found.left_out, a, b, num)
    if figures := _draw_figures(a, b, out):
        text += f"\n![Every figure of A and B, with its interval]({figures.name})\n"
    record: dict[str, Any] = {
        "a": str(a),
        "b": str(b),
        "figures": [{**vars(entry), "verdict": entry.verdict} for entry in differences],
        "left_out": found.left_out,
    }
    write_tables(out, {"figures": table}, text)
    write_atomic(out.with_suffix(".json"), json.dumps(record, indent=2))
    return text


def _draw_figures(a: Path, b: Path, out: Path) -> Path | None:
    """The plot beside OUT; None where a folder holds items alone."""
    if not all((folder / "results.json").is_file() for folder in (a, b)):
        return None
    named = {f"{letter}: {folder.name}": folder for letter, folder in (("A", a), ("B", b))}
    return draw_systems({name: [read_results(at / "results.json")] for name, at in named.items()}, out)


def _items_path(folder: Path, section: str) -> Path:
    return folder / "items" / f"{section}.npz"


def _compare_section(section: str, a: Path, b: Path, num: int, seed: int, found: Comparison) -> None:
    """Add the figures of a section to `found`."""
    items = [load_items(_items_path(folder, section)) for folder in (a, b)]
    same = _same_items(items)
    chosen: dict[str, Metric] = {}
    estimators: list[dict[str, Estimator]] = [{}, {}]
    for metric in metrics_of(section):
        sides = [_estimator(metric, x) for x in items]
        why = _why_not(metric, sides)
        if why:
            found.left_out[metric.name] = why
            continue
        chosen[metric.key] = metric
        for kept, side in zip(estimators, sides, strict=True):
            if side is not None:
                kept[metric.key] = side
    drawn, points = [], []
    for system, x, kept in zip("ab", items, estimators, strict=True):
        salts = {stratum: "" if paired else system for stratum, paired in same.items()}
        drawn.append(resample(kept, draw_weights(x["patient"], x["stratum"], num, seed, salts)))
        whole = np.ones((1, len(x["patient"])), np.float32)
        points.append({name: float(estimate(whole)[0]) for name, estimate in kept.items()})
    for key, metric in chosen.items():
        x, y, delta = points[0][key], points[1][key], drawn[0][key] - drawn[1][key]
        if not (np.isfinite(x) and np.isfinite(y)):
            found.left_out[metric.name] = "one system has no value"
            continue
        target = metric.direction.removeprefix("as ") if metric.target else ""
        lower = bool(target) or metric.direction == "lower"
        interval, p = percentile_interval(delta), p_value(delta)
        found.differences.append(
            Difference(section, key, x, y, interval, p, all(same.values()), lower, target)
        )


def _same_items(items: Sequence[Items]) -> dict[int, bool]:
    """Stratum -> whether both systems hold the same items of the same patients, whatever their order."""
    strata = np.unique(np.concatenate([x["stratum"] for x in items]))
    same = {}
    for stratum in strata:
        keys = [
            sorted(
                f"{name}\0{patient}"
                for name, patient in zip(x["name"][rows], x["patient"][rows], strict=True)
            )
            for x in items
            for rows in [x["stratum"] == stratum]
        ]
        same[int(stratum)] = keys[0] == keys[1]
    return same


def _estimator(metric: Metric, items: Items) -> Estimator | None:
    """The figure, or its distance to its target, as a function of weights; None where the items lack it."""
    known = metric.estimators(items)
    value = known.get(metric.key)
    if value is None or not metric.target:
        return value
    fixed = items.get(f"target_{metric.key}")
    target = known.get(metric.target) or (None if fixed is None else lambda w: np.full(len(w), float(fixed)))
    if target is None:
        return None
    # The side of the target is held as on all items: an absolute value would be larger in every resample.
    whole = np.ones((1, len(items["patient"])), np.float32)
    side = 1.0 if (value(whole) >= target(whole))[0] else -1.0
    return lambda weights: side * (value(weights) - target(weights))


def _why_not(metric: Metric, sides: Sequence[Estimator | None]) -> str:
    """Why a figure is not compared; "" where it is."""
    if not metric.row:
        return "has no row of its own in the results: another table holds it"
    if metric.direction == "none":
        return "no side is better"
    if metric.interval == "none":
        return "cannot be resampled"
    missing = [name for name, side in zip("AB", sides, strict=True) if side is None]
    if missing:
        target = ", or its target" if metric.target else ""
        return _lack(missing) + target
    return ""


def _lack(systems: Sequence[str]) -> str:
    verb = "holds" if len(systems) == 1 else "hold"
    return f"{' and '.join(systems)} {verb} no items of it (not scored, or by another version)"


def _row(entry: Difference) -> list[str]:
    low_high = "–" if entry.interval is None else "{:.4f} to {:.4f}".format(*entry.interval)
    numbers = [f"{x:.4f}" for x in (entry.a, entry.b, entry.a - entry.b)]
    paired = "paired" if entry.paired else "independent"
    return [entry.label, *numbers, low_high, f"{entry.p:.4f}", f"{entry.p_holm:.4f}", entry.verdict, paired]


def _tell_filtered(a: Path, b: Path) -> list[str]:
    """A paragraph for each system of which only some draws were kept."""
    paths = {name: folder / "results.json" for name, folder in (("A", a), ("B", b))}
    told = {name: describe_kept(read_results(path)) for name, path in paths.items() if path.is_file()}
    return [line for name, text in told.items() if text for line in ("", f"{name}: {text}")]


def _render(table: Table, left_out: Mapping[str, str], a: Path, b: Path, num: int) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, why in left_out.items():
        by_reason.setdefault(why, []).append(name)
    lines = [
        f"A: {a}; B: {b}. {num} resamples of patients; A - B with its 95% interval; p two-sided, and "
        f"adjusted for {len(table.rows)} figures (Holm). A distance is smaller the nearer a figure comes to "
        "that of real films.",
        *_tell_filtered(a, b),
        "",
        markdown_table(table.header, table.rows),
    ]
    if left_out:
        lines += ["", "Not compared:", ""]
        lines += [f"- {', '.join(names)}: {why}." for why, names in by_reason.items()]
    return "\n".join(lines) + "\n"
