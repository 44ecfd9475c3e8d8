"""What are synthetic films good for? Classifiers trained on different films, on the same real ones.

A name NAME@NUM says how many synthetic films a training had: what shares NAME is one curve of the gain over
that number.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, film_paths
from evaluation.inputs.groupings import read_groupings
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.statistics.bootstrap import (
    Estimator,
    draw_weights,
    holm,
    p_value,
    percentile_interval,
    resample,
)
from evaluation.statistics.findings import score_auroc
from evaluation.statistics.weighted_estimators import ranked
from evaluation.utility.curve import draw_curves, read_curves
from runtime.devices import resolve_device
from runtime.files import write_atomic
from runtime.markdown import markdown_table

POLICY = ("ignore", "negative")
MEAN, RARE = "mean", "mean of rare ones"


@dataclass(frozen=True)
class GainFigure:
    """A mean AUROC: of which findings, on which rows (N,) bool; `family`: what it is adjusted with."""

    name: str
    family: str
    findings: list[str]
    rows: np.ndarray


def compare_training_sets(
    real: Path,
    classifiers: Sequence[str],
    out: Path,
    split: str = "test",
    rare: Sequence[str] = (),
    by: Sequence[str] = (),
    batch_size: int = 64,
    num: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """Write OUT/utility.md and .json: AUROC on real films of every training set, and the gain over the first;
    with names NAME@NUM also utility.png and .svg, the gain over the number of synthetic films.

    Args:
        classifiers: NAME=RUN; runs of one name are its seeds, and the figure is their mean.
        rare: findings whose mean is a figure of its own.
        by: columns of the real folder whose groups are told apart, see `groupings.read_groupings`.

    Returns:
        The Markdown.

    Raises:
        ValueError: a flag that is not NAME=RUN, a folder that is no classifier, or no finding to score.
    """
    unknown = sorted(set(rare) - set(FINDINGS))
    if unknown:
        raise ValueError(f"--rare {unknown[0]!r}: not one of {', '.join(FINDINGS)}")
    films = PairsFolder.open(real).split(split)
    groupings = read_groupings(by, films.table)
    runs = _score_runs(films, classifiers, out / "cache", batch_size, device)
    figures = [*_figures_of_findings(films, runs, rare), *_figures_of_groups(films, runs, groupings)]
    if not figures:
        raise ValueError(f"{real}: no finding has both classes in split {split!r}")
    estimators = {
        (name, figure.name): _mean_of_seeds(films.labels, seeds, figure)
        for name, seeds in runs.items()
        for figure in figures
    }
    patients = films.table["patient_id"].to_numpy(str)
    drawn = resample(estimators, draw_weights(patients, np.zeros(len(patients), int), num, seed))
    whole = np.ones((1, len(patients)), np.float32)
    values = {key: float(estimate(whole)[0]) for key, estimate in estimators.items()}
    gains = _find_gains(runs, figures, values, drawn)
    text = _render(runs, figures, values, gains, len(films), num)
    record = {
        "real": str(real),
        "split": split,
        "runs": list(classifiers),
        "num_films": len(films),
        "num_bootstrap": num,
        "findings": {figure.name: figure.findings for figure in figures},
        "num_films_of": {figure.name: int(figure.rows.sum()) for figure in figures},
        "auroc": {name: {figure.name: values[name, figure.name] for figure in figures} for name in runs},
        "gains": gains,
        "curves": read_curves(gains, [figure.name for figure in figures]),
    }
    write_atomic(out / "utility.md", text)
    write_atomic(out / "utility.json", json.dumps(record, indent=2) + "\n")
    if record["curves"]:
        shown = [figure.name for figure in figures if figure.family != "findings"]
        draw_curves(record["curves"], shown, next(iter(runs)), out)
    return text


def _figures_of_findings(films: PairsFolder, runs: dict, rare: Sequence[str]) -> list[GainFigure]:
    """The mean over all findings that every run can be scored on, over the rare ones, and each."""
    every = np.ones(len(films), bool)
    findings = _scorable(films.labels, runs, every)
    if not findings:
        return []
    figures = [GainFigure(MEAN, "means", findings, every)]
    if some := [name for name in findings if name in rare]:
        figures.append(GainFigure(RARE, "means", some, every))
    return figures + [GainFigure(name, "findings", [name], every) for name in findings]


def _figures_of_groups(films: PairsFolder, runs: dict, groupings: Sequence[Any]) -> list[GainFigure]:
    """The mean of each group of a column, over the findings that all its groups can be scored on."""
    figures = []
    for grouping in groupings:
        groups = grouping.assign(films.table)
        rows = {name: groups == name for name in grouping.names if (groups == name).any()}
        shared = [set(_scorable(films.labels, runs, mask)) for mask in rows.values()]
        findings = [name for name in FINDINGS if all(name in some for some in shared)]
        if findings:
            figures += [
                GainFigure(f"{grouping.column} {name}", "groups", findings, mask)
                for name, mask in rows.items()
            ]
    return figures


def _scorable(labels: np.ndarray, runs: dict[str, list[np.ndarray]], rows: np.ndarray) -> list[str]:
    """Findings of which these rows (N,) bool have both classes, for every run."""
    shared = set(FINDINGS)
    for probabilities in (p for seeds in runs.values() for p in seeds):
        shared &= set(score_auroc(labels[rows], probabilities[rows], *POLICY)["per_finding"])
    return [name for name in FINDINGS if name in shared]


def _find_gains(
    runs: dict[str, list[np.ndarray]], figures: list[GainFigure], values: dict, drawn: dict
) -> list[dict[str, Any]]:
    """Gain of every training set over the first, with interval and adjusted p."""
    first, *others = runs
    gains = [
        {
            "name": name,
            "figure": figure.name,
            "family": figure.family,
            "gain": values[name, figure.name] - values[first, figure.name],
            "interval": percentile_interval(drawn[name, figure.name] - drawn[first, figure.name]),
            "p": p_value(drawn[name, figure.name] - drawn[first, figure.name]),
        }
        for name in others
        for figure in figures
    ]
    # The means are the question; single findings and groups are others, with more comparisons.
    for family in dict.fromkeys(figure.family for figure in figures):
        members = [entry for entry in gains if entry["family"] == family]
        for entry, p in zip(members, holm([entry["p"] for entry in members]), strict=True):
            entry["p_holm"] = p
    return gains


def _score_runs(
    films: PairsFolder, classifiers: Sequence[str], cache_dir: Path, batch_size: int, device: str
) -> dict[str, list[np.ndarray]]:
    """NAME=RUN flags -> name -> probabilities (N, 14) of each of its runs."""
    runs: dict[str, list[np.ndarray]] = {}
    for flag in classifiers:
        name, separator, run = flag.partition("=")
        if not separator or not name:
            raise ValueError(f"{flag!r}: write NAME=RUN, such as real=runs/utility/real_0")
        classifier = FilmClassifier.open(run, resolve_device(device))
        scores = score_cached(classifier, film_paths(films), cache_dir, batch_size, name)
        runs.setdefault(name, []).append(scores.probabilities)
    return runs


def _mean_of_seeds(labels: np.ndarray, seeds: list[np.ndarray], figure: GainFigure) -> Estimator:
    known = [figure.rows & np.isfinite(p).any(axis=1) for p in seeds]
    each = [
        ranked(labels, p, rows, figure.findings, POLICY, "auroc")
        for p, rows in zip(seeds, known, strict=True)
    ]
    return lambda weights: np.mean([estimate(weights) for estimate in each], axis=0)


def _render(
    runs: dict, figures: list[GainFigure], values: dict, gains: list[dict], num_films: int, num: int
) -> str:
    first = next(iter(runs))
    sizes = [f"{sum(g['family'] == family for g in gains)} of {family}" for family in _families(figures)]
    head = (
        f"AUROC on {num_films} real films, mean over seeds; gain over {first} with its 95% interval ({num} "
        f"resamples of patients, the same for all); * p < 0.05 after Holm, over {', '.join(sizes)}."
    )
    by_key = {(entry["name"], entry["figure"]): entry for entry in gains}
    parts = [head]
    for family in _families(figures):
        header = (family, *(f"{name} (n = {len(seeds)})" for name, seeds in runs.items()))
        rows = [
            [
                _label(figure),
                *(_cell(values[name, figure.name], by_key.get((name, figure.name))) for name in runs),
            ]
            for figure in figures
            if figure.family == family
        ]
        parts.append(markdown_table(header, rows))
    return "\n\n".join(parts) + "\n"


def _families(figures: list[GainFigure]) -> list[str]:
    return list(dict.fromkeys(figure.family for figure in figures))


def _label(figure: GainFigure) -> str:
    if figure.family == "groups":
        return f"{figure.name} ({int(figure.rows.sum())} films, {len(figure.findings)} findings)"
    return figure.name if figure.family == "findings" else f"{figure.name} ({len(figure.findings)} findings)"


def _cell(value: float, gain: dict[str, Any] | None) -> str:
    if not gain or not gain["interval"]:
        return f"{value:.3f}"
    low, high = gain["interval"]
    star = "*" if gain["p_holm"] < 0.05 else ""
    return f"{value:.3f} ({gain['gain']:+.3f}; {low:+.3f} to {high:+.3f}){star}"
