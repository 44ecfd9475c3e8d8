"""The gain over the number of synthetic films: one line for each way to use them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Curves = dict[str, dict[str, list[dict[str, Any]]]]  # figure -> name -> points by number of films
PANELS_A_ROW = 3


def read_curves(gains: Sequence[Mapping[str, Any]], figures: Sequence[str]) -> Curves:
    """The gains of names NAME@NUM as points {num, gain, interval}; {} where no name says a number."""
    curves: Curves = {}
    for figure in figures:
        lines: dict[str, list[dict[str, Any]]] = {}
        for entry in gains:
            found = re.fullmatch(r"(.+)@(\d+)", entry["name"])
            if found and entry["figure"] == figure:
                point = {"num": int(found[2]), "gain": entry["gain"], "interval": entry["interval"]}
                lines.setdefault(found[1], []).append(point)
        if lines:
            curves[figure] = {
                name: sorted(line, key=lambda point: point["num"]) for name, line in lines.items()
            }
    return curves


def draw_curves(curves: Curves, shown: Sequence[str], first: str, out: Path) -> None:
    """OUT/utility.png and .svg: a panel for each figure shown, with 95% intervals."""
    from evaluation.output.plots import CURVE_COLORS
    from runtime.figures import new_figure, save_figure

    num_columns = min(PANELS_A_ROW, len(shown))
    num_rows = -(-len(shown) // num_columns)
    figure = new_figure(3.6 * num_columns + 0.8, 3.0 * num_rows)
    panels = list(figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).flat)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, shown, strict=False):
        for place, (label, points) in enumerate(curves[name].items()):
            color = CURVE_COLORS[place % len(CURVE_COLORS)]
            numbers = [point["num"] for point in points]
            axes.plot(numbers, [point["gain"] for point in points], "o-", color=color, label=label)
            bounds = [(point["num"], *point["interval"]) for point in points if point["interval"]]
            if bounds:
                axes.fill_between(*zip(*bounds, strict=True), color=color, alpha=0.15, linewidth=0)
        axes.axhline(0.0, color="black", linewidth=0.8, linestyle=":")
        numbers = sorted({point["num"] for points in curves[name].values() for point in points})
        least = min((num for num in numbers if num), default=1)
        axes.set_xscale("symlog", base=2, linthresh=least)  # logarithmic, with a place for none
        axes.set_xticks(numbers, [str(num) for num in numbers], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("synthetic films", fontsize=8)
        axes.tick_params(labelsize=7)
    panels[0].set_ylabel(f"AUROC over {first}", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    for form in ("png", "svg"):
        save_figure(figure, out / f"utility.{form}")
