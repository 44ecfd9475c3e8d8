"""Pictures of results: AUROC of each finding, precision-recall and calibration curves, distances."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from data_module.findings import FINDINGS, as_binary
from evaluation.images.guidance import FIGURES
from evaluation.privacy.distances import MEASURES
from evaluation.statistics.findings import calibration_bins
from evaluation.statistics.measures import REAL, SYNTHETIC, Items
from runtime.files import write_atomic

SYNTHETIC_COLOUR, REAL_COLOUR = "#c4532d", "#8c9aa8"
CURVE_COLOURS = (SYNTHETIC_COLOUR, "#2b6a99", "#4f8a3c", "#8b5ea8")
MAX_CURVES = 12  # findings shown


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, apart from pyplot's state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as an <svg> element, the same bytes every time."""
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "paircxr", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def plot_auroc(section: Mapping[str, Any]) -> Figure:
    """Bar chart of the AUROC of each finding, synthetic beside real."""
    made, real = section["auroc_per_finding"], section["auroc_per_finding_real"]
    names = [name for name in FINDINGS if name in made or name in real]
    figure = new_figure(7.5, 0.42 * max(len(names), 3) + 1.2)
    axes = figure.add_subplot()
    rows = range(len(names))
    missing = float("nan")
    for offset, values, label, colour in (
        (-0.2, made, "synthetic films, prompt's findings", SYNTHETIC_COLOUR),
        (0.2, real, "real films", REAL_COLOUR),
    ):
        lengths = [values.get(name, missing) for name in names]
        axes.barh([row + offset for row in rows], lengths, height=0.38, label=label, color=colour)
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(list(rows), names)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("AUROC of the classifier (0.5: chance)")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    return figure


def draw_auroc(section: Mapping[str, Any], path: Path) -> None:
    """`plot_auroc` as PNG."""
    stream = io.BytesIO()
    plot_auroc(section).savefig(stream, format="png", dpi=120)
    write_atomic(path, stream.getvalue())


def plot_curves(items: Items, findings: Sequence[str]) -> Figure:
    """Precision over recall, and frequency over probability, of each finding, synthetic beside real."""
    shown = list(findings)[:MAX_CURVES]
    figure = new_figure(8.0, 1.9 * -(-len(shown) // 3) * 2 + 0.6)
    grid = figure.subplots(-(-len(shown) // 3) * 2, 3, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    truth = as_binary(items["labels"], *items["policy"].tolist())
    synthetic = items["stratum"] == SYNTHETIC
    for place, name in enumerate(shown):
        column = FINDINGS.index(name)
        above, below = grid[2 * (place // 3) : 2 * (place // 3) + 2, place % 3]
        for rows, colour in ((~synthetic, REAL_COLOUR), (synthetic, SYNTHETIC_COLOUR)):
            rows = rows & ~np.isnan(truth[:, column]) & ~np.isnan(items["probabilities"][:, column])
            y, p = truth[rows, column], items["probabilities"][rows, column]
            precision, recall, _ = precision_recall_curve(y, p)
            above.plot(recall, precision, color=colour, linewidth=1.4)
            confidence, frequency, counts = calibration_bins(y, p)
            area = 9.0 + 120.0 * counts / counts.sum()  # a bin of few films says little
            below.scatter(confidence, frequency, np.where(counts, area, 0.0), color=colour, alpha=0.7)
        below.plot([0, 1], [0, 1], color="black", linewidth=0.7, linestyle=":")
        for axes, label in ((above, "precision over recall"), (below, "frequency over probability")):
            axes.set_visible(True)
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 1), yticks=(0, 1))
            axes.set_title(f"{name}\n{label}" if axes is above else label, fontsize=8)
            axes.tick_params(labelsize=7)
    return figure


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
            (line,) = axes.plot(scales, values, marker="o", color=CURVE_COLOURS[place % len(CURVE_COLOURS)])
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
            axes.axhline(points[0][beside], color=REAL_COLOUR, linestyle="--", label="real films")
        axes.set(title=title, xlabel="guidance scale")
    axes.legend(fontsize=8, frameon=False)
    return figure


def plot_distances(items: Items, section: Mapping[str, Any]) -> Figure:
    """Distances to the nearest training film: synthetic over held-out real, and the threshold."""
    figure = new_figure(8.0, 2.4)
    for axes, name in zip(figure.subplots(1, 3), MEASURES, strict=True):
        values = [items[name][items["stratum"] == side] for side in (REAL, SYNTHETIC)]
        bins = np.linspace(0.0, max(float(v.max()) for v in values) + 1e-9, 40)
        for each, colour, label in zip(
            values, (REAL_COLOUR, SYNTHETIC_COLOUR), ("held-out real", "synthetic"), strict=True
        ):
            axes.hist(each, bins, density=True, histtype="stepfilled", alpha=0.55, color=colour, label=label)
        axes.axvline(section[name]["threshold"], color="black", linewidth=0.9, linestyle="--")
        axes.set_title(name, fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return figure
