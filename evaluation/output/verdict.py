"""The verdict on top of the report page: what is good, what is weak, what cannot be said at this n."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.metric import Metric, all_metrics, look_up
from evaluation.output.cells import format_interval, format_value

Judgment = Literal["good", "weak", "between", "unsaid"]
TITLES: dict[Judgment, str] = {
    "good": "Good: as real films, or nearly",
    "between": "Between: above the floor, below real films",
    "weak": "Weak: nearer to the floor",
    "unsaid": "Cannot be said at this n",
}
NEAR, FAR = 0.9, 0.5  # shares of the way from the floor to what real films reach
TIMES_GOOD, TIMES_WEAK = 1.25, 2.0  # a distance by that of other real films, which is its floor
MIN_POSITIVE = 20  # films with a finding, for a word on that finding
CHANCE = {"films.auroc_mean": 0.5}  # the floor of figures that name none


@dataclass(frozen=True)
class Verdict:
    """One figure, and what to think of it."""

    judgment: Judgment
    title: str
    text: str


def judge_results(results: Mapping[str, Any]) -> dict[str, list[Verdict]]:
    """Title -> the verdicts on the figures of `summary`, in the order of TITLES; empty ones are left out.

    A figure that real films reach too is judged by its share of the way to them from its floor, a distance by
    its multiple of the distance between real films. Where the 95% interval goes over both limits, or there is
    none, nothing can be said.
    """
    found = [
        verdict
        for metric in sorted(all_metrics(), key=lambda metric: metric.headline)
        if metric.headline and (verdict := _judge(metric, results.get(metric.section) or {}))
    ]
    found += _judge_findings(results.get("films") or {})
    groups = {title: [one for one in found if one.judgment == key] for key, title in TITLES.items()}
    return {title: verdicts for title, verdicts in groups.items() if verdicts}


def _judge(metric: Metric, section: Mapping[str, Any]) -> Verdict | None:
    """None for a figure that was not scored, or that nothing is held against."""
    value, floor, real = (look_up(section, key) for key in (metric.key, metric.floor, metric.ceiling))
    floor = CHANCE.get(metric.name) if floor is None else floor
    interval = (section.get("intervals") or {}).get(metric.key)
    if value is None or floor is None:
        return None
    if metric.direction == "lower" and floor > 0:
        judgment = settle(value / floor, [end / floor for end in interval or ()], TIMES_GOOD, TIMES_WEAK)
        beside = f"{value / floor:.1f} times that of other real films, {format_value(floor, metric.scale)}"
    elif metric.direction == "higher" and real is not None and real > floor:
        shares = [(end - floor) / (real - floor) for end in (value, *(interval or ()))]
        judgment = settle(-shares[0], [-share for share in shares[1:]], -NEAR, -FAR)
        floor, real = (format_value(end, metric.scale) for end in (floor, real))
        beside = f"{shares[0]:.0%} of the way from {floor} to {real}"
    elif metric.direction == "higher" and real is None and metric.floor:  # reports: nobody knows the best
        above = bool(interval) and min(interval) > floor
        judgment = "unsaid" if not interval else "between" if above else "weak"
        beside = f"{'above' if above else 'not surely above'} the floor {format_value(floor, metric.scale)}"
    else:
        return None
    shown = format_interval(section, metric.key, metric.scale)
    text = f"{format_value(value, metric.scale)}{f' ({shown})' if shown else ''}: {beside}"
    return Verdict(judgment, metric.label, text)


def _judge_findings(films: Mapping[str, Any]) -> list[Verdict]:
    """Which findings the films show as real ones do, by the AUROC of each; those of few films are unsaid."""
    groups: dict[Judgment, list[str]] = {}
    counts = films.get("auroc_num_positive") or {}
    reached = films.get("auroc_per_finding_real") or {}
    for name, value in (films.get("auroc_per_finding") or {}).items():
        floor, real = CHANCE["films.auroc_mean"], reached.get(name)
        if value is None or real is None or real <= floor:
            continue
        share = (value - floor) / (real - floor)
        known = [-share] if counts.get(name, 0) >= MIN_POSITIVE else []
        groups.setdefault(settle(-share, known, -NEAR, -FAR), []).append(f"{name} {share:.0%}")
    title = "each finding, share of the way to real films' AUROC:"
    return [Verdict(judgment, title, ", ".join(names)) for judgment, names in groups.items()]


def settle(value: float, interval: Sequence[float], good: float, weak: float) -> Judgment:
    """Of a figure of which less is better: good up to the one limit, weak from the other on.

    Args:
        interval: both ends of its 95% interval, or nothing.
    """
    if not interval or (min(interval) <= good and max(interval) >= weak):
        return "unsaid"
    return "good" if value <= good else "weak" if value >= weak else "between"
