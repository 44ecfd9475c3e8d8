"""Scores over the 14 findings: AUROC of probabilities, F1 of labels. Arrays in, plain dicts out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from data_module.findings import FINDINGS, FIVE_FINDINGS, POSITIVE, as_binary

# What -1 becomes, and who scores that way.
UNCERTAIN_POLICIES = {
    "negative": "uncertain is negative (positive-only)",
    "positive": "uncertain is positive (as CheXbert's F1)",
    "ignore": "a finding that is uncertain on either side is left out of that report",
}
NUM_BINS = 15  # of the calibration error
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


def score_probabilities(
    labels: np.ndarray, probabilities: np.ndarray, uncertain: str = "ignore", blank: str = "negative"
) -> dict[str, dict[str, float]]:
    """auroc, average_precision and ece of each finding that has both classes: finding -> figures.

    Args and policies as in `score_auroc`, which names what is left out.
    """
    labels, probabilities = _check(labels, probabilities)
    truth = as_binary(labels, uncertain, blank)
    result = {}
    for name, auroc in score_auroc(labels, probabilities, uncertain, blank)["per_finding"].items():
        column = FINDINGS.index(name)
        rows = ~np.isnan(probabilities[:, column]) & ~np.isnan(truth[:, column])
        y, p = truth[rows, column], probabilities[rows, column]
        precision = float(average_precision_score(y, p))
        result[name] = {"auroc": auroc, "average_precision": precision, "ece": calibration_error(y, p)}
    return result


def bin_of(probabilities: np.ndarray) -> np.ndarray:
    """Which of NUM_BINS equal bins of 0..1 each probability (N,) lies in: (N,) int."""
    return np.clip((np.asarray(probabilities, np.float64) * NUM_BINS).astype(int), 0, NUM_BINS - 1)


def calibration_bins(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of NUM_BINS equal bins: mean probability, share of positives, and count; 0 where empty."""
    bins = bin_of(probabilities)
    counts = np.bincount(bins, minlength=NUM_BINS)
    divisor = np.maximum(counts, 1)
    confidence = np.bincount(bins, probabilities, NUM_BINS) / divisor
    frequency = np.bincount(bins, truth, NUM_BINS) / divisor
    return confidence, frequency, counts


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """ECE (Guo et al., ICML 2017): mean distance of probability and frequency over bins, by count."""
    confidence, frequency, counts = calibration_bins(truth, probabilities)
    return float((np.abs(confidence - frequency) * counts).sum() / counts.sum())


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
    by_finding = precision_recall_fscore_support(
        truth,
        guess,
        zero_division=0.0,  # pyright: ignore[reportArgumentType]  # scikit-learn has no annotations
    )
    precision, recall, f1, support = (np.asarray(figures) for figures in by_finding)
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


def positive_sides(
    reference: np.ndarray, hypothesis: np.ndarray, policy: str
) -> tuple[np.ndarray, np.ndarray]:
    """Where each of two label arrays (N, 14) is positive, bool, under a policy of UNCERTAIN_POLICIES."""
    truth, guess = (as_binary(x, policy) for x in (reference, hypothesis))
    known = ~np.isnan(truth) & ~np.isnan(guess)
    return known & (truth == POSITIVE), known & (guess == POSITIVE)


def is_normal(labels: np.ndarray) -> np.ndarray:
    """(N,) bool: reports (labels (N, 14)) without a positive finding that is one of the diseases."""
    columns = [c for c, name in enumerate(FINDINGS) if name not in ("No Finding", "Support Devices")]
    return (labels[:, columns] != POSITIVE).all(axis=1)


def score_conventions(reference: np.ndarray, hypothesis: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Precision, recall and F1 of two label arrays (N, 14) under each convention for uncertain findings.

    micro: all decisions together. macro: mean over the findings that are positive on either side. example:
    mean over the reports that are positive for a finding on either side. A precision or recall without a
    case is 0. Not mentioned is negative.

    Returns:
        policy of UNCERTAIN_POLICIES -> "{micro,macro,example}_{precision,recall,f1}_{14,5}" -> value.
    """
    reference, hypothesis = _check(reference, hypothesis)
    results: dict[str, dict[str, float | None]] = {}
    for policy in UNCERTAIN_POLICIES:
        truth, guess = positive_sides(reference, hypothesis, policy)
        results[policy] = {}
        for names in (FINDINGS, FIVE_FINDINGS):
            chosen = np.isin(FINDINGS, names)
            counts = np.stack([x[:, chosen] for x in (truth & guess, guess, truth)]).astype(np.int64)
            for average, axis in (("micro", (1, 2)), ("macro", 1), ("example", 2)):
                values = _precision_recall_f1(*counts.sum(axis=axis))
                for figure, value in zip(("precision", "recall", "f1"), values, strict=True):
                    results[policy][f"{average}_{figure}_{len(names)}"] = value
    return results


def _precision_recall_f1(
    hits: np.ndarray, guessed: np.ndarray, true: np.ndarray
) -> tuple[float | None, float | None, float | None]:
    """Means over the entries (K,) or () that are positive on either side; None where none is."""
    hits, guessed, true = (np.atleast_1d(x) for x in (hits, guessed, true))
    defined = guessed + true > 0
    if not defined.any():
        return None, None, None
    hits, guessed, true = hits[defined], guessed[defined], true[defined]
    precision, recall, f1 = (
        hits / np.maximum(guessed, 1),
        hits / np.maximum(true, 1),
        2 * hits / (guessed + true),
    )
    return float(precision.mean()), float(recall.mean()), float(f1.mean())


def _micro_f1(truth: np.ndarray, guess: np.ndarray) -> float | None:
    total = int(truth.sum()) + int(guess.sum())
    return 2.0 * int((truth & guess).sum()) / total if total else None


def tune_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Finding -> the threshold of highest F1; a decision is probability >= threshold.

    Halfway between two neighboring probabilities; the first of equals from above. A finding without a
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
        precision, recall, limits = precision_recall_curve(truth, p)
        f1 = 2.0 * precision * recall / np.maximum(precision + recall, 1e-12)
        # Rounded, so that equal ones tie; the last point of the curve has no threshold.
        best = len(limits) - 1 - int(np.argmax(f1[-2::-1].round(12)))
        below = limits[best - 1] if best else 0.0
        thresholds[name] = float((limits[best] + below) / 2.0)
    return thresholds
