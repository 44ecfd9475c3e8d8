"""Several results.json beside each other: runs that differ in their seed alone become mean and interval."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from evaluation.inputs.results import read_results
from evaluation.output.side_by_side import open_systems, plot_side_by_side, shared_prompts
from runtime.files import write_atomic

# Headline figures: where they stand in results.json, and the same of real films or pairs, at the same n.
FIGURES = {
    "AUROC": ("films", "auroc_mean", "auroc_mean_real"),
    "FID": ("films", "fid", "fid_floor"),
    "KID": ("films", "kid", "kid_floor"),
    "SSIM of random pairs": ("films", "ssim", "ssim_real"),
    "MS-SSIM within a prompt": ("films", "ms_ssim_within_prompt", "ms_ssim_within_prompt_real"),
    "report F1-14": ("reports", "micro_f1_14", None),
    "report vs prompt F1-14": ("pairs", "report_vs_prompt_micro_f1_14", "report_vs_prompt_micro_f1_14_real"),
    "film vs report F1-14": ("pairs", "film_report_agreement", "film_report_agreement_real"),
}
REAL = "real"


def summarise(results: Sequence[str | Path], out: Path) -> str:
    """Write a table of groups of results, and of the differences between groups that share their seeds.

    Folders named NAME_0, NAME_1, ... are one group of seeds, NAME.

    Args:
        results: folders, or NAME=FOLDER.

    Returns:
        The Markdown that is written to `out`; where the films are still there, a picture lies beside it.

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
        runs[seed or ""] = read_results(path)
    values = {
        name: {figure: _collect(runs, section, key) for figure, (section, key, _) in FIGURES.items()}
        for name, runs in groups.items()
    }
    shown = [figure for figure in FIGURES if any(values[name][figure] for name in values)]
    spreads = {name: _spread(runs, shown) for name, runs in groups.items()}
    lines = [_explain(groups), "", *_table(values, shown, spreads)]
    lines += _real_row([run for runs in groups.values() for run in runs.values()], shown)
    differences = _differences(values, shown)
    if differences:
        lines += ["", "Differences, paired by seed, with their 95% t-intervals.", ""]
        lines += _table(differences, shown, {})
    picture = _draw_films({name: next(iter(runs.values())) for name, runs in groups.items()}, out)
    if picture:
        lines += ["", f"![The first films of each, for the same prompts]({picture.name})"]
    text = "\n".join(lines) + "\n"
    write_atomic(out, text)
    return text


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95% t-interval of the mean; the half-width is NaN for fewer than two."""
    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def _draw_films(results: Mapping[str, Mapping], out: Path) -> Path | None:
    """The systems' films beside each other, as a PNG beside the table; None with fewer than two to show."""
    folders = open_systems(results)
    rows = shared_prompts(list(folders.values()))
    if len(folders) < 2 or not rows:
        return None
    path = out.with_suffix(".png")
    stream = io.BytesIO()
    plot_side_by_side(folders, rows).savefig(stream, format="png", dpi=110)
    write_atomic(path, stream.getvalue())
    return path


def _collect(runs: Mapping[str, Mapping], section: str, name: str) -> dict[str, float]:
    found = {seed: (result.get(section) or {}).get(name) for seed, result in runs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _spread(runs: Mapping[str, Mapping], shown: Sequence[str]) -> dict[str, str]:
    """Of a single run: figure -> its 95% interval over patients, as results.json has it."""
    if len(runs) > 1:
        return {}
    (result,) = runs.values()
    found = {}
    for figure in shown:
        section, key, _ = FIGURES[figure]
        bounds = ((result.get(section) or {}).get("intervals") or {}).get(key)
        if bounds and None not in bounds:
            found[figure] = f" ({bounds[0]:.3f} to {bounds[1]:.3f})"
    return found


def _explain(groups: Mapping[str, Mapping]) -> str:
    parts = []
    if any(len(runs) > 1 for runs in groups.values()):
        parts.append("Of several seeds: their mean with its 95% t-interval.")
    if any(len(runs) == 1 for runs in groups.values()):
        parts.append("Of one run: in brackets the 95% interval over patients.")
    return " ".join(parts)


def _real_row(runs: Sequence[Mapping], shown: Sequence[str]) -> list[str]:
    """Ceilings and floors, where all results have the same ones."""
    cells = []
    for figure in shown:
        section, _, key = FIGURES[figure]
        found = {(run.get(section) or {}).get(key) for run in runs} if key else {None}
        value = found.pop() if len(found) == 1 else None
        cells.append("" if value is None else f"{value:.4f}")
    return [f"| {REAL} | | " + " | ".join(cells) + " |"] if any(cells) else []


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


def _table(
    values: Mapping[str, Mapping], shown: Sequence[str], spreads: Mapping[str, Mapping[str, str]]
) -> list[str]:
    lines = ["| | n | " + " | ".join(shown) + " |", "|---|---|" + "---|" * len(shown)]
    for name, figures in values.items():
        cells = []
        for figure in shown:
            seeds = list(figures[figure].values())
            mean, half = interval(seeds) if seeds else (float("nan"), float("nan"))
            spread = "" if np.isnan(half) else f" ± {half:.4f}"
            spread = spread or spreads.get(name, {}).get(figure, "")
            cells.append(f"{mean:.4f}{spread}" if seeds else "")
        count = max((len(figures[figure]) for figure in shown), default=0)
        lines.append(f"| {name} | {count} | " + " | ".join(cells) + " |")
    return lines
