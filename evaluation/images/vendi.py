"""Vendi score: the effective number of different films, with each film's influence on it."""

import numpy as np

from evaluation.images.inputs import FilmInputs
from evaluation.metric import Figure, Metric, needed

BLOCK = 2048  # rows of a block
SMALLEST = 1e-12  # eigenvalue that is not 0 by rounding


def _gram(features: np.ndarray) -> np.ndarray:
    """The N x N cosine kernel over N, or the D x D matrix with the same eigenvalues but 0: the smaller."""
    if len(features) <= features.shape[1]:
        rows = _unit(features)
        return rows @ rows.T / len(features)
    gram = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), BLOCK):
        rows = _unit(features[start : start + BLOCK])
        gram += rows.T @ rows
    return gram / len(features)


def vendi_score(features: np.ndarray) -> float:
    """Effective number of different films of features (N, D): exp(entropy of the kernel's eigenvalues).

    Cosine kernel over N.
    """
    values = np.linalg.eigvalsh(_gram(features))
    values = values[values > SMALLEST]
    return float(np.exp(-(values * np.log(values)).sum()))


def vendi_influence(features: np.ndarray) -> np.ndarray:
    """How far each film raises the Vendi score: influence function (N,), of mean 0.

    With S = mean of x x^T over unit features x and H = -tr(S log S), dH = -x^T (log S) x - H for a film x:
    large where few others look like it. Resampling the score itself would lower it, for a film that is
    drawn twice is no second film.
    """
    values, vectors = np.linalg.eigh(_gram(features))
    kept = values > SMALLEST
    values, vectors = values[kept], vectors[:, kept]
    if len(features) <= features.shape[1]:  # x_i . v_j = sqrt(N value_j) u_ij
        surprise = -(np.square(vectors) * len(features)) @ (values * np.log(values))
    else:
        blocks = (_unit(features[start : start + BLOCK]) for start in range(0, len(features), BLOCK))
        surprise = np.concatenate([-np.square(rows @ vectors) @ np.log(values) for rows in blocks])
    entropy = -(values * np.log(values)).sum()
    return np.exp(entropy) * (surprise - entropy)


def _unit(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _compute(films: FilmInputs) -> Figure:
    sets = needed(films.features)

    def influence() -> np.ndarray:
        return films.spread(vendi_influence(sets.synthetic) / len(sets.synthetic), fill=0.0)

    return Figure(
        vendi_score(sets.synthetic),
        floor=None if sets.floor is None else vendi_score(sets.floor),
        ceiling=vendi_score(sets.real),
        influence=influence,
    )


METRICS = (
    Metric(
        key="vendi",
        title="Vendi score",
        section="films",
        direction="as real",
        range=(1.0, np.inf),
        convention="effective number of different films among num_fidelity: exp of the entropy of the cosine "
        "kernel's eigenvalues; interval by each film's influence, for a resample, which repeats films, has a "
        "lower score by itself",
        source="Friedman and Dieng, TMLR 2023, eq. 2",
        needs=("features",),
        compute=_compute,
        interval="influence",
        floor="vendi_floor",
        ceiling="vendi_real",
    ),
)
