"""Pictures of results: AUROC of each finding, precision-recall and calibration curves, distances."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from data_module.findings import FINDINGS, as_binary
from evaluation.images.guidance import FIGURES
from evaluation.metric import Items
from evaluation.privacy.distances import DISTANCES
from evaluation.statistics.findings import calibration_bins
from evaluation.statistics.items import REAL, SYNTHETIC
from runtime.figures import new_figure

SYNTHETIC_COLOR, REAL_COLOR = "#c4532d", "#8c9aa8"
CURVE_COLUMNS = 3  # of the grid of precision-recall curves
CURVE_COLORS = (SYNTHETIC_COLOR, "#2b6a99", "#4f8a3c", "#8b5ea8")


def plot_auroc(section: Mapping[str, Any]) -> Figure:
    """Bar chart of the AUROC of each finding, synthetic beside real."""
    made, real = section["auroc_per_finding"], section["auroc_per_finding_real"]
    names = list(FINDINGS)
    figure = new_figure(7.5, 0.42 * len(names) + 1.2)
    axes = figure.add_subplot()
    rows = range(len(names))
    missing = float("nan")
    for offset, values, label, color in (
        (-0.2, made, "synthetic films, prompt's findings", SYNTHETIC_COLOR),
        (0.2, real, "real films", REAL_COLOR),
    ):
        lengths = [values.get(name, missing) for name in names]
        axes.barh([row + offset for row in rows], lengths, height=0.38, label=label, color=color)
    for row, name in enumerate(names):
        if name not in made and name not in real:
            axes.text(0.01, row, "too few films", va="center", fontsize=8, color=REAL_COLOR)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(list(rows), names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("AUROC of the classifier (0.5: chance)")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    return figure


def plot_curves(items: Items, scored: Sequence[str]) -> Figure:
    """Of each scored finding precision over recall and, below, frequency over probability, synthetic beside
    real; the last line names those of the 14 that are not among them."""
    num_rows = -(-len(scored) // CURVE_COLUMNS)
    height = 4.2 * num_rows + 0.5
    figure = new_figure(9.0, height, layout=None)  # a layout of thirty axes takes as long as they do
    grid = figure.add_gridspec(2 * num_rows, CURVE_COLUMNS)
    figure.subplots_adjust(0.04, 0.8 / height, 0.99, 1.0 - 0.3 / height, wspace=0.14, hspace=0.34)
    for place, name in enumerate(scored):
        line, column = divmod(place, CURVE_COLUMNS)
        above, below = (figure.add_subplot(grid[2 * line + row, column]) for row in range(2))
        for axes, across, upwards in ((above, "recall", "precision"), (below, "probability", "frequency")):
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 1), yticks=(0, 1))
            axes.set_xlabel(across, fontsize=8, labelpad=-6)
            axes.set_ylabel(upwards, fontsize=8, labelpad=-4)
            axes.tick_params(labelsize=7)
        above.set_title(name, fontsize=9)
        below.set_title("calibration", fontsize=8)
        _draw_curves(above, below, items, FINDINGS.index(name))
    if left := [name for name in FINDINGS if name not in scored]:
        words = textwrap.fill("Too few films: " + ", ".join(left), 130)
        figure.text(0.04, 0.1 / height, words, va="bottom", fontsize=8, color=REAL_COLOR)
    return figure


def _draw_curves(above: Axes, below: Axes, items: Items, column: int) -> None:
    truth = as_binary(items["labels"], *items["policy"].tolist())[:, column]
    probabilities, synthetic = items["probabilities"][:, column], items["stratum"] == SYNTHETIC
    for rows, color in ((~synthetic, REAL_COLOR), (synthetic, SYNTHETIC_COLOR)):
        rows = rows & ~np.isnan(truth) & ~np.isnan(probabilities)
        precision, recall, _ = precision_recall_curve(truth[rows], probabilities[rows])
        above.plot(recall, precision, color=color, linewidth=1.4)
        confidence, frequency, counts = calibration_bins(truth[rows], probabilities[rows])
        area = 9.0 + 120.0 * counts / counts.sum()  # a bin of few films says little
        below.scatter(confidence, frequency, np.where(counts, area, 0.0), color=color, alpha=0.7)
    below.plot([0, 1], [0, 1], color="black", linewidth=0.7, linestyle=":")


def plot_guidance(points: Sequence[Mapping[str, Any]]) -> Figure:
    """AUROC and FID over the guidance scale: a line a curve with its intervals, dashed what real films reach.

    Args:
        points: see `guidance.read_points`.
    """
    figure = new_figure(8.0, 3.2)
    curves = dict.fromkeys(point["curve"] for point in points)
    for axes, (title, key, beside) in zip(figure.subplots(1, len(FIGURES)), FIGURES, strict=True):
        for place, curve in enumerate(curves):
            shown = [point for point in points if point["curve"] == curve and point[key] is not None]
            scales, values = ([point[name] for point in shown] for name in ("scale", key))
            (line,) = axes.plot(scales, values, marker="o", color=CURVE_COLORS[place % len(CURVE_COLORS)])
            line.set_label(curve)
            whiskers = [point for point in shown if point[f"{key}_interval"]]
            axes.vlines(
                [point["scale"] for point in whiskers],
                *zip(*(point[f"{key}_interval"] for point in whiskers), strict=True)
                if whiskers
                else ([], []),
                color=line.get_color(),
                alpha=0.4,
            )
        if points[0][beside] is not None:
            axes.axhline(points[0][beside], color=REAL_COLOR, linestyle="--", label="real films")
        axes.set(title=title, xlabel="guidance scale", ylabel=title)
    axes.legend(fontsize=8, frameon=False)
    return figure


def plot_distances(items: Items, section: Mapping[str, Any]) -> Figure:
    """Distances to the nearest training film: synthetic over held-out real, and the threshold."""
    figure = new_figure(8.0, 2.4)
    for axes, name in zip(figure.subplots(1, 3), DISTANCES, strict=True):
        values = [items[name][items["stratum"] == side] for side in (REAL, SYNTHETIC)]
        bins = np.linspace(0.0, max(float(v.max()) for v in values) + 1e-9, 40)
        for each, color, label in zip(
            values, (REAL_COLOR, SYNTHETIC_COLOR), ("held-out real", "synthetic"), strict=True
        ):
            axes.hist(each, bins, density=True, histtype="stepfilled", alpha=0.55, color=color, label=label)
        axes.axvline(section[name]["threshold"], color="black", linewidth=0.9, linestyle="--")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("distance", fontsize=8)
        axes.set_ylabel("density of films", fontsize=8)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return figure
