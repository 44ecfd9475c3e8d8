"""Several results.json beside each other: runs that differ in their seed alone become mean and interval."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from data_module.files import write_atomic

# Headline figures and where they stand in results.json.
FIGURES = {
    "AUROC": ("films", "auroc_mean"),
    "FID": ("films", "fid"),
    "KID": ("films", "kid"),
    "report F1-14": ("reports", "micro_f1_14"),
    "report vs prompt F1-14": ("pairs", "report_vs_prompt_micro_f1_14"),
    "film vs report F1-14": ("pairs", "film_report_agreement"),
}


def summarise(results: Sequence[str | Path], out: Path) -> str:
    """Write a table of groups of results, and of the differences between groups that share their seeds.

    Folders named NAME_0, NAME_1, ... are one group of seeds, NAME.

    Args:
        results: folders, or NAME=FOLDER.

    Returns:
        The Markdown that is written to `out`.

    Raises:
        ValueError: a folder without results.json, or two of one name.
    """
    groups: dict[str, dict[str, Mapping]] = {}
    for entry in results:
        given, separator, place = str(entry).partition("=")
        folder = Path(place if separator else given)
        path = folder / "results.json"
        if not path.is_file():
            raise ValueError(f"{folder}: no results.json; score it with `python -m evaluation all` first")
        name, seed = re.fullmatch(r"(.*?)(?:_(\d+))?", given if separator else folder.name).groups()
        runs = groups.setdefault(name, {})
        if (seed or "") in runs:
            raise ValueError(
                f"{folder}: another of the results is called {folder.name} too; write NAME={folder}"
            )
        runs[seed or ""] = json.loads(path.read_text())
    values = {
        name: {figure: _collect(runs, *place) for figure, place in FIGURES.items()}
        for name, runs in groups.items()
    }
    shown = [figure for figure in FIGURES if any(values[name][figure] for name in values)]
    lines = ["Mean over seeds with its 95% t-interval.", "", *_table(values, shown)]
    differences = _differences(values, shown)
    if differences:
        lines += ["", "Differences, paired by seed, with their 95% t-intervals.", ""]
        lines += _table(differences, shown)
    text = "\n".join(lines) + "\n"
    write_atomic(out, text)
    return text


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95% t-interval of the mean; the half-width is NaN for fewer than two."""
    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def _collect(runs: Mapping[str, Mapping], section: str, name: str) -> dict[str, float]:
    found = {seed: (result.get(section) or {}).get(name) for seed, result in runs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _differences(values: Mapping[str, Mapping], shown: Sequence[str]) -> dict[str, dict]:
    names = list(values)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    rows = {}
    for a, b in pairs:
        both = {
            figure: {
                seed: value - values[b][figure][seed]
                for seed, value in values[a][figure].items()
                if seed in values[b][figure]
            }
            for figure in shown
        }
        if any(len(seeds) > 1 for seeds in both.values()):
            rows[f"{a} - {b}"] = both
    return rows


def _table(values: Mapping[str, Mapping], shown: Sequence[str]) -> list[str]:
    lines = ["| | n | " + " | ".join(shown) + " |", "|---|---|" + "---|" * len(shown)]
    for name, figures in values.items():
        cells = []
        for figure in shown:
            seeds = list(figures[figure].values())
            mean, half = interval(seeds) if seeds else (float("nan"), float("nan"))
            cells.append("" if not seeds else f"{mean:.4f}" + ("" if np.isnan(half) else f" ± {half:.4f}"))
        count = max((len(figures[figure]) for figure in shown), default=0)
        lines.append(f"| {name} | {count} | " + " | ".join(cells) + " |")
    return lines
