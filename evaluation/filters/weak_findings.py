"""Findings that a generator draws badly, by the scores of its films."""

import sys
from pathlib import Path

import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from evaluation.inputs.results import read_results

WEAK = 0.8  # AUROC; a film of a finding below it often lacks the sign that it is labeled with


def find_weak(labels: np.ndarray, folder: Path) -> dict[str, float]:
    """Finding -> AUROC below WEAK, of those that (N, 14) labels ask for, by the results of a folder.

    Raises:
        ValueError: there are no results, or none of films with a classifier.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise ValueError(f"--results {folder}: no results.json; `python -m evaluation images` writes it")
    scores = (read_results(path).get("films") or {}).get("auroc_per_finding")
    if scores is None:
        raise ValueError(f"--results {folder}: holds no AUROC of films; score them with a --classifier")
    asked = [name for name, column in zip(FINDINGS, labels.T, strict=True) if (column == POSITIVE).any()]
    return {name: scores[name] for name in asked if scores.get(name) is not None and scores[name] < WEAK}


def warn_of_weak(labels: np.ndarray, folder: Path) -> None:
    """A warning on standard error, see `find_weak`."""
    weak = find_weak(labels, folder)
    if weak:
        shown = ", ".join(f"{name} (AUROC {value:.2f})" for name, value in weak.items())
        print(
            f"warning: asked for, and drawn badly by this generator: {shown}. Such films may lack the sign "
            "that they are labeled with: --keep film-agrees draws again where the classifier does not see it",
            file=sys.stderr,
        )
