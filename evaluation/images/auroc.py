"""AUROC and average precision of a classifier on synthetic films, against what the films were asked for."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from data_module.findings import FINDINGS
from evaluation.images.inputs import FilmInputs
from evaluation.metric import Figure, Items, Metric, needed
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.findings import mean_over, score_auroc, score_probabilities
from evaluation.statistics.items import REAL, SYNTHETIC

FIGURES = ("auroc", "average_precision", "ece")


def compare_auroc(
    labels: np.ndarray,
    probabilities: np.ndarray,
    real_labels: np.ndarray,
    real_probabilities: np.ndarray,
    uncertain: str = "ignore",
    blank: str = "negative",
) -> dict[str, Any]:
    """AUROC, average precision and ECE on synthetic films beside those on real films; all (N, 14).

    Returns:
        X_mean and X_mean_real over the same findings, X_per_finding, X_per_finding_real; policy;
        auroc_num_positive, auroc_num_negative (and _real); auroc_findings, those of the mean; auroc_skipped.
    """
    policy = (uncertain, blank)
    synthetic, real = (
        score_auroc(labels, probabilities, *policy),
        score_auroc(real_labels, real_probabilities, *policy),
    )
    shared = [name for name in synthetic["per_finding"] if name in real["per_finding"]]
    skipped = {name: f"real films: {why}" for name, why in real["skipped"].items()}
    skipped |= {name: f"synthetic films: {why}" for name, why in synthetic["skipped"].items()}
    result: dict[str, Any] = {"policy": {"uncertain": uncertain, "blank": blank}}
    for end, scores, arrays in (
        ("", synthetic, (labels, probabilities)),
        ("_real", real, (real_labels, real_probabilities)),
    ):
        figures = score_probabilities(*arrays, *policy)
        for figure in FIGURES:
            values = {name: entry[figure] for name, entry in figures.items()}
            result[f"{figure}_mean{end}"] = mean_over(values, shared)
            result[f"{figure}_per_finding{end}"] = values
        result[f"auroc_num_positive{end}"] = scores["num_positive"]
        result[f"auroc_num_negative{end}"] = scores["num_negative"]
    return result | {"auroc_findings": shared, "auroc_skipped": skipped}


def finding_figure(films: FilmInputs, figure: str) -> Figure:
    """One of FIGURES: its mean over findings, what stands of it by finding, and its items."""
    sides = (needed(films.synthetic), needed(films.real))
    made, real = sides
    found = films.once(
        "auroc",
        lambda: compare_auroc(
            made.labels, made.probabilities, real.labels, real.probabilities, *films.policy
        ),
    )
    items = {
        "labels": np.concatenate([side.labels for side in sides]),
        "probabilities": np.concatenate([side.probabilities for side in sides]),
        "findings": np.array(found["auroc_findings"], dtype=str),
        "policy": np.array(films.policy),
    }
    shared = {key: found[key] for key in ("policy", "auroc_findings", "auroc_skipped")}
    own = {
        key: value
        for key, value in found.items()
        if key.startswith((f"{figure}_per_finding", "auroc_num_positive", "auroc_num_negative"))
    }
    value, ceiling = found[f"{figure}_mean"], found[f"{figure}_mean_real"]
    return Figure(value, ceiling=ceiling, more=shared | own, items=items)


def both_sides(items: Items) -> list[tuple[str, tuple[Any, Any, Any, Any, Any]]]:
    """("", arguments of `weighted_estimators.ranked`) of synthetic films, ("_real", ...) of real ones."""
    synthetic = items["stratum"] == SYNTHETIC
    findings, policy = items["findings"].tolist(), tuple(items["policy"].tolist())
    return [
        (end, (items["labels"], items["probabilities"], rows, findings, policy))
        for end, rows in (("", synthetic), ("_real", items["stratum"] == REAL))
    ]


def share_findings(items: Items, groups: Sequence[np.ndarray]) -> Items:
    """The items with only those findings that are both there and absent in every group, on either side.

    Else the means of two groups would be over different findings. A group is (N,) bool.
    """
    if "findings" not in items:
        return items

    def ranks(name: str, rows: np.ndarray) -> bool:
        truth, seen = items["labels"][rows], items["probabilities"][rows]
        return name in score_auroc(truth, seen, *items["policy"].tolist())["per_finding"]

    parts = [rows & (items["stratum"] == side) for rows in groups for side in (SYNTHETIC, REAL)]
    shared = [name for name in items["findings"].tolist() if all(ranks(name, rows) for rows in parts)]
    return {**items, "findings": np.array(shared, dtype=str)}


def _estimate(items: Items, figure: str) -> Mapping[str, Estimator]:
    return {
        f"{figure}_mean{end}": weighted_estimators.ranked(*asked, figure) for end, asked in both_sides(items)
    }


METRICS = tuple(
    Metric(
        key=f"{figure}_mean",
        title=title,
        section="films",
        direction="higher",
        convention=convention,
        source=source,
        needs=("probabilities", "labels"),
        compute=partial(finding_figure, figure=figure),
        estimate=partial(_estimate, figure=figure),
        ceiling=f"{figure}_mean_real",
        headline=headline,
    )
    for figure, title, source, headline, convention in (
        (
            "auroc",
            "mean AUROC",
            "scikit-learn's roc_auc_score; Fawcett, Pattern Recognition Letters 2006",
            1,
            "classifier on synthetic films against the prompt's findings; uncertain and not mentioned as "
            "films.policy says; mean over the findings with both classes on both sides "
            f"(at most {len(FINDINGS)})",
        ),
        (
            "average_precision",
            "mean average precision",
            "scikit-learn's average_precision_score",
            0,
            "of the films and findings of auroc_mean; depends on the share of positives, which the table "
            "gives",
        ),
    )
)
