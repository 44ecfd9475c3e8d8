"""Two scored systems beside each other: paired differences, intervals, and adjusted p-values."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.output.table import better_of
from evaluation.statistics.bootstrap import draw_weights, holm, p_value, percentile_interval, resample
from evaluation.statistics.measures import SECTION_MEASURES, load_items
from runtime.files import write_atomic


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
    p_holm: float = float("nan")

    @property
    def verdict(self) -> str:
        """Which system is better at 5% after adjustment, or that neither can be told from the other."""
        if not self.p_holm < 0.05:
            return "no difference shown"
        a_is_better = (self.a < self.b) == (better_of(self.section)[self.name] == "lower")
        return "A better" if a_is_better else "B better"


def compare_systems(a: Path, b: Path, out: Path, num: int = 2000, seed: int = 0) -> str:
    """Write OUT (Markdown) and OUT with .json of every figure with a better side that both folders hold.

    Items are paired where both systems were scored on the same ones (same films, reports or prompts, of the
    same patients); otherwise each system is resampled on its own.

    Returns:
        The Markdown.

    Raises:
        ValueError: a folder that holds no items, or none in common.
    """
    sections = [name for name in SECTION_MEASURES if better_of(name)]
    found = [name for name in sections if all(_items_path(x, name).is_file() for x in (a, b))]
    if not found:
        raise ValueError(f"{a} and {b} hold no section in common: score both with `python -m evaluation all`")
    differences = [entry for section in found for entry in _compare_section(section, a, b, num, seed)]
    adjusted = holm([entry.p for entry in differences])
    differences = [
        Difference(**{**vars(entry), "p_holm": p}) for entry, p in zip(differences, adjusted, strict=True)
    ]
    text = _render(differences, a, b, num)
    record = [{**vars(entry), "verdict": entry.verdict} for entry in differences]
    write_atomic(out, text)
    write_atomic(
        out.with_suffix(".json"), json.dumps({"a": str(a), "b": str(b), "figures": record}, indent=2)
    )
    return text


def _items_path(folder: Path, section: str) -> Path:
    return folder / "items" / f"{section}.npz"


def _compare_section(section: str, a: Path, b: Path, num: int, seed: int) -> list[Difference]:
    items = [load_items(_items_path(folder, section)) for folder in (a, b)]
    # Items in one order, whatever the folders' order.
    orders = [np.lexsort((x["name"], x["stratum"])) for x in items]
    strata = np.unique(np.concatenate([x["stratum"] for x in items]))
    same = {}
    for stratum in strata:
        keys = [
            [f"{x['name'][i]}\0{x['patient'][i]}" for i in order if x["stratum"][i] == stratum]
            for x, order in zip(items, orders, strict=True)
        ]
        same[int(stratum)] = keys[0] == keys[1]
    drawn, points = [], []
    for system, x in zip("ab", items, strict=True):
        try:
            measures = SECTION_MEASURES[section](x)
        except KeyError as error:
            folder = a if system == "a" else b
            raise ValueError(
                f"{folder} was scored by another version: score it again ({error} is missing)"
            ) from None
        measures = {name: measure for name, measure in measures.items() if name in better_of(section)}
        salts = {stratum: "" if same[stratum] else system for stratum in same}
        drawn.append(resample(measures, draw_weights(x["patient"], x["stratum"], num, seed, salts)))
        whole = np.ones((1, len(x["patient"])), np.float32)
        points.append({name: float(measure(whole)[0]) for name, measure in measures.items()})
    names = [name for name in points[0] if name in points[1]]
    pairs = [(points[0][name], points[1][name], drawn[0][name] - drawn[1][name]) for name in names]
    return [
        Difference(section, name, x, y, percentile_interval(delta), p_value(delta), all(same.values()))
        for name, (x, y, delta) in zip(names, pairs, strict=True)
        if np.isfinite(x) and np.isfinite(y)
    ]


def _render(differences: list[Difference], a: Path, b: Path, num: int) -> str:
    lines = [
        f"A: {a}; B: {b}. {num} resamples of patients; A - B with its 95% interval; p two-sided, and "
        f"adjusted for {len(differences)} figures (Holm).",
        "",
        "| figure | A | B | A - B | 95% interval | p | p (Holm) | verdict | items |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in differences:
        low_high = "–" if entry.interval is None else "{:.4f} to {:.4f}".format(*entry.interval)
        lines.append(
            f"| {entry.section}.{entry.name} | {entry.a:.4f} | {entry.b:.4f} | {entry.a - entry.b:.4f} "
            f"| {low_high} | {entry.p:.4f} | {entry.p_holm:.4f} | {entry.verdict} "
            f"| {'paired' if entry.paired else 'independent'} |"
        )
    return "\n".join(lines) + "\n"
