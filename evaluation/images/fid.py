"""FID, in float64, with each film's influence on it."""

import numpy as np

from evaluation.images.features import check_features, feature_blocks
from evaluation.images.inputs import FilmInputs
from evaluation.metric import Figure, Metric, needed


def _root(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """R (min(N, D), D) with R^T R = the covariance of x (N, D): QR block by block, the last R on top."""
    root = np.empty((0, x.shape[1]))
    for block in feature_blocks(x):
        root = np.linalg.qr(np.vstack([root, block - mean]), mode="r")
    return root / np.sqrt(len(x) - 1)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """FID of features (N, D) and (M, D): |mean difference|^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2).

    With S = R^T R, the trace of (S_a S_b)^1/2 is the sum of the singular values of R_b R_a^T. R comes from
    a QR of the centered features, so no covariance is formed and no square root of a matrix is taken: exact
    and finite also for N < D, where the covariances are singular.
    """
    a, b = check_features(a, b)
    means = [x.mean(axis=0, dtype=np.float64) for x in (a, b)]
    roots = [_root(x, mean) for x, mean in zip((a, b), means, strict=True)]
    mean_term = float(np.square(means[0] - means[1]).sum())
    traces = sum(float(np.square(root).sum()) for root in roots)
    cross = float(np.linalg.svd(roots[1] @ roots[0].T, compute_uv=False).sum())
    return max(mean_term + traces - 2.0 * cross, 0.0)


def frechet_influence(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each film pulls the FID: influence functions (N,) and (M,), each of mean 0.

    The FID of Gaussians is smooth in mean and covariance: dFID/dS_a = I - T, with
    T = R_b^T (R_b S_a R_b^T)^(-1/2) R_b the optimal transport map from a to b. A resample that draws film i
    w_i times has FID + sum_i w_i influence_i / N, to first order; resampling FID itself would raise it, for
    repeated films lower the rank. The pseudo-inverse keeps N < D finite; there the result is a lower bound.
    """
    a, b = check_features(a, b)
    means = [x.mean(axis=0, dtype=np.float64) for x in (a, b)]
    roots = [_root(x, mean) for x, mean in zip((a, b), means, strict=True)]
    u, values, vt = np.linalg.svd(roots[1] @ roots[0].T, full_matrices=False)
    kept = values > values.max(initial=0.0) * 1e-7
    scale = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    # T = R_b^T U diag(1 / values) U^T R_b; the map from b to a is the same with R_a and V.
    halves = (roots[1].T @ u * np.sqrt(scale), roots[0].T @ vt.T * np.sqrt(scale))
    shift = 2.0 * (means[0] - means[1])
    influences = []
    for x, mean, half, sign in zip((a, b), means, halves, (1.0, -1.0), strict=True):
        parts = []
        for block in feature_blocks(x):
            centered = block - mean
            spread = np.square(centered).sum(axis=1) - np.square(centered @ half).sum(axis=1)
            parts.append(sign * centered @ shift + spread)
        influence = np.concatenate(parts)
        influences.append(influence - influence.mean())
    return influences[0], influences[1]


def _compute(films: FilmInputs) -> Figure:
    sets = needed(films.features)

    def influence() -> np.ndarray:
        made, real = frechet_influence(sets.synthetic, sets.real)
        return films.spread(made / len(made), real / len(real), fill=0.0)

    return Figure(
        frechet_distance(sets.synthetic, sets.real),
        floor=None if sets.floor is None else frechet_distance(sets.floor, sets.real),
        influence=influence,
    )


METRICS = (
    Metric(
        key="fid",
        title="FID",
        section="films",
        direction="lower",
        range=(0.0, np.inf),
        convention="Frechet distance of the first extractor's pooled features, synthetic to real; float64; "
        "num_fidelity films on each side, of the value and of the floor alike, for FID's bias depends on n; "
        "floor: the same real films against other real films, of other patients; interval by each film's "
        "influence, for a resample, which repeats films, has a higher FID by itself",
        source="Heusel et al., NeurIPS 2017, eq. 6",
        needs=("features",),
        compute=_compute,
        interval="influence",
        floor="fid_floor",
        headline=2,
    ),
)
