"""What are synthetic films good for? Classifiers trained on different mixes, on the same real films."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, film_paths
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
from runtime.devices import resolve_device
from runtime.files import write_atomic
from runtime.markdown import markdown_table

POLICY = ("ignore", "negative")


def compare_training_sets(
    real: Path,
    classifiers: Sequence[str],
    out: Path,
    split: str = "test",
    batch_size: int = 64,
    num: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """Write OUT/utility.md and .json: AUROC on real films of every training set, and the gain over the first.

    Args:
        classifiers: NAME=RUN; runs of one name are its seeds, and the figure is their mean.

    Returns:
        The Markdown.

    Raises:
        ValueError: a flag that is not NAME=RUN, a folder that is no classifier, or no finding to score.
    """
    films = PairsFolder.open(real).split(split)
    runs = _score_runs(films, classifiers, out / "cache", batch_size, device)
    shared = set(FINDINGS)
    for probabilities in (p for seeds in runs.values() for p in seeds):
        shared &= set(score_auroc(films.labels, probabilities, *POLICY)["per_finding"])
    findings = [name for name in FINDINGS if name in shared]
    if not findings:
        raise ValueError(f"{real}: no finding has both classes in split {split!r}")
    figures = ["mean", *findings]
    estimators = {
        (name, figure): _mean_of_seeds(films.labels, seeds, findings if figure == "mean" else [figure])
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
        "auroc": {name: {figure: values[name, figure] for figure in figures} for name in runs},
        "gains": gains,
    }
    write_atomic(out / "utility.md", text)
    write_atomic(out / "utility.json", json.dumps(record, indent=2) + "\n")
    return text


def _find_gains(
    runs: dict[str, list[np.ndarray]], figures: list[str], values: dict, drawn: dict
) -> list[dict[str, Any]]:
    """Gain of every training set over the first, with interval and adjusted p."""
    first, *others = runs
    gains = [
        {
            "name": name,
            "figure": figure,
            "gain": values[name, figure] - values[first, figure],
            "interval": percentile_interval(drawn[name, figure] - drawn[first, figure]),
            "p": p_value(drawn[name, figure] - drawn[first, figure]),
        }
        for name in others
        for figure in figures
    ]
    for family in (  # the mean is the question; single findings are another, with more comparisons
        [entry for entry in gains if entry["figure"] == "mean"],
        [entry for entry in gains if entry["figure"] != "mean"],
    ):
        for entry, p in zip(family, holm([entry["p"] for entry in family]), strict=True):
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


def _mean_of_seeds(labels: np.ndarray, seeds: list[np.ndarray], findings: list[str]) -> Estimator:
    known = [np.asarray(np.isfinite(p).any(axis=1)) for p in seeds]
    each = [ranked(labels, p, rows, findings, POLICY, "auroc") for p, rows in zip(seeds, known, strict=True)]
    return lambda weights: np.mean([estimate(weights) for estimate in each], axis=0)


def _render(runs: dict, figures: list[str], values: dict, gains: list[dict], num_films: int, num: int) -> str:
    first = next(iter(runs))
    head = (
        f"AUROC on {num_films} real films, mean over seeds; gain over {first} with its 95% interval ({num} "
        f"resamples of patients, the same for all); * p < 0.05 after Holm, over {len(runs) - 1} means and "
        f"over {len(gains) - len(runs) + 1} gains of single findings."
    )
    rows = []
    by_key = {(entry["name"], entry["figure"]): entry for entry in gains}
    for figure in figures:
        cells = []
        for name in runs:
            cell, entry = f"{values[name, figure]:.3f}", by_key.get((name, figure))
            if entry and entry["interval"]:
                low, high = entry["interval"]
                star = "*" if entry["p_holm"] < 0.05 else ""
                cell += f" ({entry['gain']:+.3f}; {low:+.3f} to {high:+.3f}){star}"
            cells.append(cell)
        rows.append([figure, *cells])
    header = ("finding", *(f"{name} (n = {len(seeds)})" for name, seeds in runs.items()))
    return f"{head}\n\n{markdown_table(header, rows)}\n"
