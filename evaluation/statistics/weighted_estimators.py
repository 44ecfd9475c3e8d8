"""Figures as functions of how often each item is drawn: weights (R, N) -> (R,), for resampling."""

from collections.abc import Callable, Sequence

import numpy as np

from data_module.findings import FINDINGS, FIVE_FINDINGS, POSITIVE, as_binary
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.findings import bin_of, calibration_bins


def mean_of(scores: np.ndarray, rows: np.ndarray | None = None) -> Estimator:
    """Weighted mean of per-item scores (N,); items of NaN are left out."""
    known = np.isfinite(scores) if rows is None else rows & np.isfinite(scores)
    values = np.where(known, scores, 0.0)

    def estimate(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return weights @ values / (weights @ known.astype(np.float64))

    return estimate


def mean_of_pairs(scores: np.ndarray, pairs: np.ndarray) -> Estimator:
    """Weighted mean of scores (P,) of pairs (P, 2) of items; a pair counts as often as both are drawn."""

    def estimate(weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, pairs[:, 0]] * weights[:, pairs[:, 1]]
        with np.errstate(invalid="ignore"):
            return drawn @ scores / drawn.sum(axis=1)

    return estimate


def median_of(values: np.ndarray, rows: np.ndarray) -> Estimator:
    """Weighted median of values (N,) over the items `rows` (N,) bool; of two middle ones the lower."""
    order = np.flatnonzero(rows)
    order = order[np.argsort(values[order], kind="stable")]

    def estimate(weights: np.ndarray) -> np.ndarray:
        below = weights[:, order].cumsum(axis=1)
        return values[order][(below >= below[:, -1:] / 2.0).argmax(axis=1)]

    return estimate


def ratio(a: Estimator, b: Estimator) -> Estimator:
    """a / b; NaN where b is 0."""

    def estimate(weights: np.ndarray) -> np.ndarray:
        top, bottom = a(weights), b(weights)
        return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)

    return estimate


def linear(value: float, influence: np.ndarray) -> Estimator:
    """A figure with its items' influence (N,), each already divided by the size of its side."""
    return lambda weights: value + weights @ influence


def ranked(
    labels: np.ndarray,
    probabilities: np.ndarray,
    rows: np.ndarray,
    findings: Sequence[str],
    policy: tuple[str, str],
    figure: str,
) -> Estimator:
    """Mean over `findings` of the AUROC ("auroc") or average precision ("average_precision").

    Args:
        labels, probabilities: (N, 14); rows: (N,) bool, the items that count.
        policy: what uncertain and blank become, see `data_module.findings.as_binary`.
    """
    truth = as_binary(labels, *policy)
    prepared = []
    for name in findings:
        column = FINDINGS.index(name)
        used = np.flatnonzero(rows & ~np.isnan(truth[:, column]) & ~np.isnan(probabilities[:, column]))
        positive = truth[used, column] == POSITIVE
        prepared.append((used, _count_by_score(positive, probabilities[used, column])))
    summarize = _auroc if figure == "auroc" else _average_precision

    def estimate(weights: np.ndarray) -> np.ndarray:
        values = [summarize(*count(weights[:, used])) for used, count in prepared]
        return _mean_known(np.stack(values)) if values else np.full(len(weights), np.nan)

    return estimate


def separation(positive: np.ndarray, scores: np.ndarray) -> Estimator:
    """AUROC of scores (N,), the higher the more likely positive (N,) bool; ties count half."""
    count = _count_by_score(positive, scores)
    return lambda weights: _auroc(*count(weights))


def found_at(positive: np.ndarray, scores: np.ndarray, false_alarms: float) -> Estimator:
    """Largest share of the positives above a score that at most a share of the others lies above; the
    threshold is of each resample."""
    count = _count_by_score(positive, scores)

    def estimate(weights: np.ndarray) -> np.ndarray:
        hits, misses = (part.cumsum(axis=1) for part in count(weights))
        with np.errstate(invalid="ignore", divide="ignore"):
            found, alarms = hits / hits[:, -1:], misses / misses[:, -1:]
        best = np.where(alarms <= false_alarms + 1e-9, found, 0.0).max(axis=1)
        return np.where((hits[:, -1] > 0) & (misses[:, -1] > 0), best, np.nan)

    return estimate


def _count_by_score(
    positive: np.ndarray, scores: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Weights (R, N) -> weights of the positives and of the others (R, T) at each score, highest first."""
    order = np.argsort(-scores, kind="stable")
    ranked_scores, truth = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked_scores[1:] != ranked_scores[:-1]]))

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drawn = weights[:, order].astype(np.float64)
        hits = np.add.reduceat(np.where(truth, drawn, 0.0), starts, axis=1)
        return hits, np.add.reduceat(np.where(truth, 0.0, drawn), starts, axis=1)

    return count


def calibration(
    labels: np.ndarray,
    probabilities: np.ndarray,
    rows: np.ndarray,
    findings: Sequence[str],
    policy: tuple[str, str],
) -> Estimator:
    """Mean ECE over `findings`, arguments as in `ranked`.

    ECE is the sum over bins of |sum of (probability - truth)| / N. The bins' signs are held as they are on
    all items: with them resampled, empty and noisy bins would raise the ECE of every resample.
    """
    truth = as_binary(labels, *policy)
    means = []
    for name in findings:
        column = FINDINGS.index(name)
        used = rows & ~np.isnan(truth[:, column]) & ~np.isnan(probabilities[:, column])
        y, p = truth[used, column], probabilities[used, column]
        confidence, frequency, _ = calibration_bins(y, p)
        gaps = np.full(len(labels), np.nan)
        gaps[used] = np.sign(confidence - frequency)[bin_of(p)] * (p - y)
        means.append(mean_of(gaps))
    return lambda weights: (
        _mean_known(np.stack([mean(weights) for mean in means])) if means else np.full(len(weights), np.nan)
    )


def _auroc(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """(R,) from positives and negatives (R, T) at each score, highest score first; ties count half."""
    below = misses.sum(axis=1, keepdims=True) - misses.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (hits * (below + misses / 2.0)).sum(axis=1) / (hits.sum(axis=1) * misses.sum(axis=1))


def _average_precision(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    found = hits.cumsum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = found / np.maximum(found + misses.cumsum(axis=1), 1e-12)
        return (hits * precision).sum(axis=1) / hits.sum(axis=1)


def f1(
    reference: np.ndarray,
    hypothesis: np.ndarray,
    rows: np.ndarray,
    average: str,
    num_findings: int = 14,
    columns: np.ndarray | None = None,
) -> Estimator:
    """Positive-only micro or macro F1 of labels (N, 14), as `findings.score_f1` counts it."""
    truth, guess = reference == POSITIVE, hypothesis == POSITIVE
    chosen = np.isin(FINDINGS, FINDINGS if num_findings == 14 else FIVE_FINDINGS)
    chosen &= np.ones(14, bool) if columns is None else columns
    truth, guess = (x[:, chosen] & rows[:, None] for x in (truth, guess))
    defined = truth.any(axis=0) | guess.any(axis=0)
    hits = (truth & guess)[:, defined].astype(np.float32)
    total = truth[:, defined].astype(np.float32) + guess[:, defined]

    def estimate(weights: np.ndarray) -> np.ndarray:
        found, counted = weights @ hits, weights @ total
        with np.errstate(invalid="ignore", divide="ignore"):
            if average == "micro":
                return 2.0 * found.sum(axis=1) / counted.sum(axis=1)
            return _mean_known((2.0 * found / counted).T)

    return estimate


def _mean_known(values: np.ndarray) -> np.ndarray:
    """(K, R) -> (R,) mean of what is not NaN; a resample without a positive of a finding leaves it out."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)


def bleu(counts: np.ndarray, order: int) -> Estimator:
    """Corpus BLEU-1..order from each report's counts (N, 10), see `overlap.Overlap`."""

    def estimate(weights: np.ndarray) -> np.ndarray:
        sums = weights.astype(np.float64) @ counts
        # The constants are pycocoevalcap's, so that weights of 1 give its figure.
        precisions = (sums[:, 4 : 4 + order] + 1e-15) / (sums[:, :order] + 1e-9)
        ratio = (sums[:, 8] + 1e-15) / (sums[:, 9] + 1e-9)
        brevity = np.where(ratio < 1.0, np.exp(1.0 - 1.0 / np.maximum(ratio, 1e-15)), 1.0)
        return brevity * np.prod(precisions, axis=1) ** (1.0 / order)

    return estimate
