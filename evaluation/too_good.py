"""Figures that are better than what real films reach: a sign that the real films were seen."""

from collections.abc import Mapping
from typing import Any

from evaluation.metric import look_up, metrics_of
from evaluation.output.cells import format_value

MARGIN = 2.0


def warn_of_floors(name: str, section: Mapping[str, Any]) -> list[str]:
    """A sentence for each distance of a section that lies below its floor by more than chance.

    The floor is what other real films reach. A perfect generator lies below it half of the time, and both
    figures scatter: the value must be below by MARGIN times its upper half interval. In 300 draws of made-up
    features that were no copies, FID was warned of in 2% and KID in 2% (with the plain interval, 7% each); of
    125 sets of altered copies FID was warned of in all. Without intervals nothing is said.
    """
    sentences = []
    for metric in metrics_of(name):
        value, floor = look_up(section, metric.key), look_up(section, metric.floor)
        interval = section.get("intervals", {}).get(metric.key)
        if metric.direction != "lower" or value is None or floor is None or not interval:
            continue
        if value + MARGIN * (interval[1] - value) < floor:
            shown, reached = (format_value(x, metric.scale) for x in (value, floor))
            sentences.append(
                f"{metric.label} {shown} is better than its floor {reached}, which other real films reach: "
                "the synthetic films may be made from the very films that they are compared with."
            )
    return sentences
