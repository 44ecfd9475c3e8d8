"""Figures that are better than what real films reach: a sign that the real films were seen."""

from collections.abc import Mapping
from typing import Any

from evaluation.metric import look_up, metrics_of
from evaluation.output.cells import format_value


def warn_of_floors(name: str, section: Mapping[str, Any]) -> list[str]:
    """A sentence for each distance of a section whose whole interval lies below its floor.

    The floor is what other real films reach. A perfect generator lies below it half of the time, and with its
    whole 95% interval about once in forty.
    """
    sentences = []
    for metric in metrics_of(name):
        value, floor = look_up(section, metric.key), look_up(section, metric.floor)
        if metric.direction != "lower" or value is None or floor is None:
            continue
        interval = section.get("intervals", {}).get(metric.key)
        if (interval[1] if interval else value) < floor:
            shown, reached = (format_value(x, metric.scale) for x in (value, floor))
            sentences.append(
                f"{metric.label} {shown} is better than its floor {reached}, which other real films reach: "
                "the synthetic films may be made from the very films that they are compared with."
            )
    return sentences
