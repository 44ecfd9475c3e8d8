"""Intervals and paired differences by resampling whole patients (Efron and Tibshirani, 1993, ch. 13 and 16).

A resample is a row of weights: how often each item is drawn. Figures are functions of weights (R, N) -> (R,),
so that two systems scored on the same patients can be given the same draws.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")
Estimator = Callable[[np.ndarray], np.ndarray]  # weights (R, N) float32 -> (R,), NaN where it is undefined

NUM_AT_ONCE = 64  # resamples of a block of weights
CONFIDENCE = 0.95


def draw_weights(
    patients: np.ndarray, strata: np.ndarray, num: int, seed: int, salts: Mapping[int, str] | None = None
) -> Iterator[np.ndarray]:
    """Blocks (R, N) of weights, R <= NUM_AT_ONCE, `num` rows in all.

    Args:
        patients: (N,) names; all items of a patient are drawn together.
        strata: (N,) small integers; patients are drawn anew within each (synthetic films, real films).
        salts: stratum -> text that is mixed into its seed, for draws that must differ between systems.
    """
    drawn = []
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        names, places = np.unique(patients[rows], return_inverse=True)
        salt = (salts or {}).get(int(stratum), "")
        mixed = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:4], "big")
        drawn.append((rows, len(names), places, np.random.default_rng([seed, int(stratum), mixed])))
    for start in range(0, num, NUM_AT_ONCE):
        weights = np.zeros((min(NUM_AT_ONCE, num - start), len(patients)), np.float32)
        for rows, num_patients, places, rng in drawn:
            counts = rng.multinomial(num_patients, np.full(num_patients, 1.0 / num_patients), len(weights))
            weights[:, rows] = counts[:, places]
        yield weights


def resample(estimators: Mapping[Key, Estimator], blocks: Iterator[np.ndarray]) -> dict[Key, np.ndarray]:
    """Each estimator on every resample: name -> (num,)."""
    values: dict[Key, list[np.ndarray]] = {name: [] for name in estimators}
    for weights in blocks:
        for name, estimate in estimators.items():
            values[name].append(estimate(weights))
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in values.items()}


def percentile_interval(values: np.ndarray) -> list[float] | None:
    """[low, high] of the central 95% of the resamples; None where the figure is mostly undefined."""
    known = values[np.isfinite(values)]
    if len(known) < max(2, len(values) // 2):
        return None
    tail = (1.0 - CONFIDENCE) / 2.0
    return [float(v) for v in np.quantile(known, [tail, 1.0 - tail])]


def p_value(differences: np.ndarray) -> float:
    """Two-sided: twice the share of resampled differences on the rarer side of 0, never below 1 / num."""
    known = differences[np.isfinite(differences)]
    if not len(known):
        return float("nan")
    rarer = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2.0 * (rarer + 1) / (len(known) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for how many there are (Holm, Scand J Stat 1979); NaN stays and does not count."""
    p = np.asarray(p_values, float)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    adjusted, largest = p.copy(), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[place]))
        adjusted[place] = largest
    return [float(v) for v in adjusted]


def shuffle(num: int, rng: np.random.Generator, shift: int = 1) -> np.ndarray:
    """(N,) another row for each row, at random: no item keeps its own."""
    order = rng.permutation(num)
    other = np.empty_like(order)
    other[order] = np.roll(order, shift)
    return other
