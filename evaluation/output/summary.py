"""Several results.json beside each other: runs that differ in their seed alone become mean and interval."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation.filters.kept import find_kept
from evaluation.inputs.results import read_results
from evaluation.metric import Metric, all_metrics, look_up
from evaluation.output.cells import Table, format_value
from evaluation.output.formats import check_suffix, write_tables
from evaluation.output.side_by_side import (
    open_real,
    open_systems,
    plot_side_by_side,
    shared_prompts,
    short_prompts,
)
from evaluation.output.systems_plot import draw_systems
from evaluation.statistics.seeds import mean_with_interval
from runtime.figures import save_figure
from runtime.markdown import markdown_table

REAL = "real"
Values = Mapping[str, Mapping[str, Mapping[str, float]]]  # system -> metric -> seed -> value as it is shown


def summarize(results: Sequence[str | Path], out: Path) -> str:
    """Write a table of groups of results, and of the differences between groups that share their seeds.

    Folders named NAME_0, NAME_1, ... are one group of seeds, NAME.

    Args:
        results: folders, or NAME=FOLDER.
        out: .md, .tex or .csv.

    Returns:
        The Markdown. Beside `out` lie the figures as a plot (SVG, PDF) and, where the films are still there,
        the first of each system.

    Raises:
        ValueError: a folder without results.json, or two of one name; a name of `out` that says no format.
    """
    check_suffix(out)
    groups = _read_groups(results)
    headline = sorted((m for m in all_metrics() if m.headline), key=lambda m: m.headline)
    values = {
        name: {metric.name: _collect(runs, metric) for metric in headline} for name, runs in groups.items()
    }
    shown = [metric for metric in headline if any(values[name][metric.name] for name in values)]
    spreads = {name: _spread(runs, shown) for name, runs in groups.items()}
    runs = [run for group in groups.values() for run in group.values()]
    tables = {"systems": _table(values, shown, spreads, _real_row(runs, shown))}
    lines = [_explain(groups), "", markdown_table(tables["systems"].header, tables["systems"].rows)]
    differences = _differences(values, shown)
    if differences:
        tables["differences"] = _table(differences, shown, {}, [])
        lines += ["", "Differences, paired by seed, with their 95% t-intervals.", ""]
        lines += [markdown_table(tables["differences"].header, tables["differences"].rows)]
    picture = _draw_films({name: next(iter(runs.values())) for name, runs in groups.items()}, out)
    if picture:
        lines += ["", f"![The first films of each, for the same prompts]({picture.name})"]
    figures = draw_systems({name: list(runs.values()) for name, runs in groups.items()}, out)
    if figures:
        lines += ["", f"![Every figure of each, with its interval]({figures.name})"]
    text = "\n".join(lines) + "\n"
    write_tables(out, tables, text)
    return text


def _read_groups(results: Sequence[str | Path]) -> dict[str, dict[str, Mapping]]:
    """Name -> seed -> results.json."""
    groups: dict[str, dict[str, Mapping]] = {}
    for entry in results:
        given, separator, place = str(entry).partition("=")
        folder = Path(place if separator else given)
        path = folder / "results.json"
        if not path.is_file():
            raise ValueError(f"{folder}: no results.json; score it with `python -m evaluation all` first")
        full = given if separator else folder.name
        name, underscore, seed = full.rpartition("_")
        if not (underscore and seed.isdecimal()):
            name, seed = full, ""
        found = read_results(path)
        name += " (filtered)" if find_kept(found) else ""
        runs = groups.setdefault(name, {})
        if (seed or "") in runs:
            raise ValueError(
                f"{folder}: another of the results is called {folder.name} too; write NAME={folder}"
            )
        runs[seed or ""] = found
    return groups


def _draw_films(results: Mapping[str, Mapping], out: Path) -> Path | None:
    """The systems' films beside each other and above real ones, as a PNG beside the table.

    Of a single system the shortest prompts are shown, with the reports. None where there is nothing to show
    beside its films.
    """
    folders, real = open_systems(results), open_real(results)
    alone = len(folders) == 1
    rows = short_prompts(next(iter(folders.values()))) if alone else shared_prompts(list(folders.values()))
    if not rows or (alone and real is None):
        return None
    path = out.with_suffix(".png")
    save_figure(plot_side_by_side(folders, rows, real, with_reports=alone), path)
    return path


def _collect(runs: Mapping[str, Mapping], metric: Metric) -> dict[str, float]:
    """Seed -> the figure at the scale it is shown at."""
    found = {seed: look_up(result.get(metric.section) or {}, metric.key) for seed, result in runs.items()}
    return {seed: value * metric.scale for seed, value in found.items() if value is not None}


def _spread(runs: Mapping[str, Mapping], shown: Sequence[Metric]) -> dict[str, str]:
    """Of a single run: metric -> its 95% interval over patients, as results.json has it."""
    if len(runs) > 1:
        return {}
    (result,) = runs.values()
    found = {}
    for metric in shown:
        bounds = ((result.get(metric.section) or {}).get("intervals") or {}).get(metric.key)
        if bounds and None not in bounds:
            low, high = (format_value(bound, metric.scale) for bound in bounds)
            found[metric.name] = f" ({low} to {high})"
    return found


def _explain(groups: Mapping[str, Mapping]) -> str:
    parts = []
    if any(len(runs) > 1 for runs in groups.values()):
        parts.append("Of several seeds: their mean with its 95% t-interval.")
    if any(len(runs) == 1 for runs in groups.values()):
        parts.append("Of one run: in brackets the 95% interval over patients.")
    return " ".join(parts)


def _real_row(runs: Sequence[Mapping], shown: Sequence[Metric]) -> list[str]:
    """What real films or pairs reach, where all results have the same; [] where nothing is known."""
    cells = []
    for metric in shown:
        found = {look_up(run.get(metric.section) or {}, metric.real) for run in runs}
        value = found.pop() if len(found) == 1 else None
        cells.append("" if value is None else f"{value * metric.scale:.4f}")
    return [REAL, "", *cells] if any(cells) else []


def _differences(values: Values, shown: Sequence[Metric]) -> Values:
    names = list(values)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    rows = {}
    for a, b in pairs:
        both = {
            metric.name: {
                seed: value - values[b][metric.name][seed]
                for seed, value in values[a][metric.name].items()
                if seed in values[b][metric.name]
            }
            for metric in shown
        }
        if any(len(seeds) > 1 for seeds in both.values()):
            rows[f"{a} - {b}"] = both
    return rows


def _table(
    values: Values, shown: Sequence[Metric], spreads: Mapping[str, Mapping[str, str]], last: Sequence[str]
) -> Table:
    rows = []
    for name, figures in values.items():
        cells = []
        for metric in shown:
            seeds = list(figures[metric.name].values())
            mean, half = mean_with_interval(seeds) if seeds else (float("nan"), float("nan"))
            spread = "" if np.isnan(half) else f" ± {half:.4f}"
            spread = spread or spreads.get(name, {}).get(metric.name, "")
            cells.append(f"{mean:.4f}{spread}" if seeds else "")
        count = max((len(figures[metric.name]) for metric in shown), default=0)
        rows.append([name, str(count), *cells])
    return Table(("", "n", *(metric.label for metric in shown)), [*rows, *([last] if last else [])])
