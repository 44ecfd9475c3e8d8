"""The figures of several systems in one picture: AUROC of each finding, and every headline figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_module.findings import FINDINGS
from evaluation.metric import Metric, all_metrics, look_up
from evaluation.output.plots import CURVE_COLORS, REAL_COLOR
from evaluation.statistics.seeds import mean_with_interval
from runtime.figures import new_figure, save_figure

MARKERS = "osD^vP*X"
COLUMNS = 3  # of panels beside the findings
Runs = Mapping[str, Sequence[Mapping[str, Any]]]  # system -> results.json of each of its seeds


def draw_systems(systems: Runs, out: Path) -> Path | None:
    """Write `plot_systems` beside a table OUT, as OUT_figures.svg and .pdf.

    Returns:
        The SVG; None where the systems have no figure.
    """
    figure = plot_systems(systems)
    if figure is None:
        return None
    path = out.with_name(f"{out.stem}_figures.svg")
    save_figure(figure, path)
    save_figure(figure, path.with_suffix(".pdf"))
    return path


def plot_systems(systems: Runs) -> Figure | None:
    """A row of dots a finding and a panel a headline figure, a color a system; whiskers are 95% intervals.

    A gray line is what real films or pairs reach (of a distance: real films against others). Of several seeds
    it is their mean with its t-interval. None where no headline figure was scored.
    """
    headline = sorted((m for m in all_metrics() if m.headline), key=lambda m: m.headline)
    shown = [metric for metric in headline if any(_values(runs, metric) for runs in systems.values())]
    if not shown:
        return None
    has_findings = any(_findings(runs, "auroc_per_finding") for runs in systems.values())
    lines = -(-len(shown) // COLUMNS)
    per_panel = 0.9 + 0.22 * len(systems)
    height = max(lines * per_panel, (0.24 + 0.05 * len(systems)) * len(FINDINGS) if has_findings else 0.0)
    figure = new_figure(11.0 if has_findings else 6.6, height + 0.5)
    ratios = (1.1, 1.6) if has_findings else (1.0,)
    grid = figure.add_gridspec(1, len(ratios), width_ratios=ratios)
    *left, right = (figure.add_subfigure(grid[place]) for place in range(len(ratios)))
    for half in left:
        _draw_findings(half.add_subplot(), systems)
    panels = right.subplots(lines, COLUMNS, squeeze=False).flat
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, metric in zip(panels, shown, strict=False):
        _draw_metric(axes, metric, systems)
    found = {
        label: handle
        for axes in right.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def _style(place: int) -> dict[str, Any]:
    return {"color": CURVE_COLORS[place % len(CURVE_COLORS)], "marker": MARKERS[place % len(MARKERS)]}


def _draw_findings(axes: Axes, systems: Runs) -> None:
    spread = np.linspace(-0.25, 0.25, len(systems)) if len(systems) > 1 else [0.0]
    real = _findings([run for runs in systems.values() for run in runs], "auroc_per_finding_real")
    for row, name in enumerate(FINDINGS):
        if name in real:
            axes.plot([real[name]] * 2, [row - 0.4, row + 0.4], color=REAL_COLOR, linewidth=2.5)
    for place, runs in enumerate(systems.values()):
        found = _findings(runs, "auroc_per_finding")
        rows = [row for row, name in enumerate(FINDINGS) if name in found]
        values = [found[FINDINGS[row]] for row in rows]
        axes.plot(values, np.array(rows) + spread[place], linestyle="none", markersize=5, **_style(place))
    axes.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(FINDINGS)), FINDINGS, fontsize=8)
    axes.set_ylim(len(FINDINGS) - 0.4, -0.6)
    axes.grid(axis="y", alpha=0.25)
    axes.set_xlabel("AUROC of the classifier (0.5: chance; gray: real films)", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)


def _draw_metric(axes: Axes, metric: Metric, systems: Runs) -> None:
    real = {value for runs in systems.values() for value in _values(runs, metric, metric.real)}
    if len(real) == 1:
        axes.axvline(real.pop(), color=REAL_COLOR, linewidth=2.5, label="real")
    for place, (name, runs) in enumerate(systems.items()):
        values = _values(runs, metric)
        # Without a value, or an interval, it keeps its place, and its line of the legend.
        mean, half = mean_with_interval(values) if values else (np.nan, np.nan)
        bounds = _interval(runs, metric) or (mean - half, mean + half)
        axes.plot(bounds, [place, place], color=_style(place)["color"], alpha=0.5)
        axes.plot(mean, place, linestyle="none", label=name, **_style(place))
    axes.set(ylim=(len(systems) - 0.5, -0.5), yticks=[])
    has_side = metric.direction in ("higher", "lower")
    better = f"{metric.direction} is better" if has_side else metric.direction
    axes.set_title(metric.label, fontsize=8)
    axes.set_xlabel(better, fontsize=7)
    axes.tick_params(labelsize=7)


def _values(runs: Sequence[Mapping], metric: Metric, key: str | None = None) -> list[float]:
    """The figure (or another of its section) of each run that has it, at the scale it is shown at."""
    key = metric.key if key is None else key
    found = (look_up(run.get(metric.section) or {}, key) if key else None for run in runs)
    return [value * metric.scale for value in found if value is not None]


def _interval(runs: Sequence[Mapping], metric: Metric) -> list[float] | None:
    """Of a single run: its 95% interval over patients."""
    if len(runs) > 1:
        return None
    bounds = ((runs[0].get(metric.section) or {}).get("intervals") or {}).get(metric.key)
    return [bound * metric.scale for bound in bounds] if bounds and None not in bounds else None


def _findings(runs: Sequence[Mapping], key: str) -> dict[str, float]:
    """Finding -> mean over the runs that scored it."""
    tables = [(run.get("films") or {}).get(key) or {} for run in runs]
    values = {name: [table[name] for table in tables if name in table] for name in FINDINGS}
    return {name: float(np.mean(found)) for name, found in values.items() if found}
