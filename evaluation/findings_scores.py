"""Scores over the 14 findings: AUROC of probabilities, F1 of labels. Arrays in, plain dicts out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from data_module.findings import FINDINGS, FIVE_FINDINGS, POSITIVE, as_binary

POSITIVE_ONLY = "positive-only: 1 is positive; 0, -1 (uncertain) and not mentioned are negative"


def _check(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != len(FINDINGS):
        raise ValueError(f"shapes {a.shape} and {b.shape}: both must be (N, {len(FINDINGS)})")
    return a, b


def score_auroc(
    labels: np.ndarray, probabilities: np.ndarray, uncertain: str = "ignore", blank: str = "negative"
) -> dict[str, Any]:
    """AUROC of each finding and their mean.

    Args:
        labels: (N, 14), 1, 0, -1 or NaN.
        probabilities: (N, 14); NaN rows (unreadable films) are left out, NaN columns are not scored.
        uncertain, blank: the policies of `data_module.findings.as_binary`.

    Returns:
        per_finding (name -> AUROC), num_positive and num_negative (name -> count), mean (None when nothing
        can be scored), skipped (name -> why).
    """
    labels, probabilities = _check(labels, probabilities)
    truth = as_binary(labels, uncertain, blank)
    result: dict[str, Any] = {"per_finding": {}, "num_positive": {}, "num_negative": {}, "skipped": {}}
    for column, name in enumerate(FINDINGS):
        scored = ~np.isnan(probabilities[:, column])
        rows = scored & ~np.isnan(truth[:, column])
        y, p = truth[rows, column], probabilities[rows, column]
        positive, negative = int((y == 1).sum()), int((y == 0).sum())
        if not scored.any():
            result["skipped"][name] = "the classifier does not score it"
        elif positive == 0 or negative == 0:
            result["skipped"][name] = f"one class only ({positive} positive, {negative} negative)"
        else:
            result["per_finding"][name] = float(roc_auc_score(y, p))
            result["num_positive"][name], result["num_negative"][name] = positive, negative
    result["mean"] = mean_over(result["per_finding"], list(result["per_finding"]))
    return result


def mean_over(per_finding: dict[str, float], names: Sequence[str]) -> float | None:
    """Mean over the named findings; None when there are none."""
    return float(np.mean([per_finding[name] for name in names])) if names else None


def score_f1(
    reference: np.ndarray, hypothesis: np.ndarray, columns: np.ndarray | None = None
) -> dict[str, Any]:
    """Positive-only clinical F1 of two label arrays (N, 14): 1 is positive, everything else negative.

    Micro counts all decisions together; macro is the mean over the findings that are positive at least
    once on either side (the others have no F1 and are named in `undefined`).

    Args:
        columns: (14,) bool, the findings to score; all by default.

    Returns:
        micro_f1_14, macro_f1_14, micro_f1_5, macro_f1_5 (None when nothing is positive), per_finding
        (name -> precision, recall, f1, support), undefined, num_scored.
    """
    reference, hypothesis = _check(reference, hypothesis)
    if len(reference) == 0:
        raise ValueError("there is no row to score")
    asked = np.ones(len(FINDINGS), bool) if columns is None else np.asarray(columns, bool)
    truth, guess = reference == POSITIVE, hypothesis == POSITIVE
    precision, recall, f1, support = precision_recall_fscore_support(truth, guess, zero_division=0.0)
    defined = asked & (truth.any(axis=0) | guess.any(axis=0))
    result: dict[str, Any] = {}
    for count, names in ((len(FINDINGS), FINDINGS), (len(FIVE_FINDINGS), FIVE_FINDINGS)):
        chosen = defined & np.isin(FINDINGS, names)
        result[f"micro_f1_{count}"] = _micro_f1(truth[:, chosen], guess[:, chosen])
        result[f"macro_f1_{count}"] = float(f1[chosen].mean()) if chosen.any() else None
    result["per_finding"] = {
        name: {
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "f1": float(f1[c]),
            "support": int(support[c]),
        }
        for c, name in enumerate(FINDINGS)
        if defined[c]
    }
    result["undefined"] = [name for c, name in enumerate(FINDINGS) if asked[c] and not defined[c]]
    result["num_scored"] = len(reference)
    return result


def _micro_f1(truth: np.ndarray, guess: np.ndarray) -> float | None:
    total = int(truth.sum()) + int(guess.sum())
    return 2.0 * int((truth & guess).sum()) / total if total else None


def tune_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Finding -> the threshold of highest F1; a decision is probability >= threshold.

    Halfway between two neighbouring probabilities; the first of equals from above. A finding without a
    positive or without a probability gets none.

    Args:
        labels: (N, 14); 1 is positive, everything else negative (the convention of `score_f1`).
        probabilities: (N, 14) in 0..1.
    """
    labels, probabilities = _check(labels, probabilities)
    thresholds = {}
    for column, name in enumerate(FINDINGS):
        rows = ~np.isnan(probabilities[:, column])
        truth = labels[rows, column] == POSITIVE
        p = probabilities[rows, column].astype(np.float64)
        if not truth.any():
            continue
        order = np.argsort(-p, kind="stable")
        p, hits = p[order], np.cumsum(truth[order])
        f1 = 2.0 * hits / (np.arange(1, len(p) + 1) + truth.sum())
        f1[:-1][p[:-1] == p[1:]] = -1.0  # a threshold cannot part equal probabilities
        best = int(np.argmax(f1))
        below = p[best + 1] if best + 1 < len(p) else 0.0
        thresholds[name] = float((p[best] + below) / 2.0)
    return thresholds
