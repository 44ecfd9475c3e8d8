"""Distances between two sets of features: FID and KID, in float64, with each film's influence on them.

FID: Heusel et al., NeurIPS 2017. KID: Binkowski et al., ICLR 2018. Rows are read in blocks, so that memory
beyond the features themselves does not grow with the number of films.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torchmetrics.image.kid import poly_mmd

BLOCK = 4096  # rows read at a time


def check_features(*sets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Feature arrays (N_i, D) as they are; ValueError where no distance can be measured."""
    sets = tuple(np.asarray(x) for x in sets)
    shapes = " and ".join(str(x.shape) for x in sets)
    if any(x.ndim != 2 or x.shape[1] != sets[0].shape[-1] for x in sets):
        raise ValueError(f"features of shapes {shapes}: (N, D) with one D is needed")
    if min(len(x) for x in sets) < 2:
        counts = " and ".join(str(len(x)) for x in sets)
        raise ValueError(f"{counts} films: a distance needs at least 2 on each side")
    if not all(np.isfinite(block).all() for x in sets for block in _blocks(x)):
        raise ValueError("features hold NaN or infinity")
    return sets


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(x), BLOCK):
        yield np.asarray(x[start : start + BLOCK], np.float64)


def _root(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """R (min(N, D), D) with R^T R = the covariance of x (N, D): QR block by block, the last R on top."""
    root = np.empty((0, x.shape[1]))
    for block in _blocks(x):
        root = np.linalg.qr(np.vstack([root, block - mean]), mode="r")
    return root / np.sqrt(len(x) - 1)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """FID of features (N, D) and (M, D): |mean difference|^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2).

    With S = R^T R, the trace of (S_a S_b)^1/2 is the sum of the singular values of R_b R_a^T. R comes from
    a QR of the centred features, so no covariance is formed and no square root of a matrix is taken: exact
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
        for block in _blocks(x):
            centred = block - mean
            spread = np.square(centred).sum(axis=1) - np.square(centred @ half).sum(axis=1)
            parts.append(sign * centred @ shift + spread)
        influence = np.concatenate(parts)
        influences.append(influence - influence.mean())
    return influences[0], influences[1]


def kernel_distance(
    a: np.ndarray,
    b: np.ndarray,
    rng: np.random.Generator,
    num_subsets: int = 50,
    max_subset_size: int = 1000,
) -> tuple[float, float]:
    """KID of features (N, D) and (M, D): unbiased MMD^2 with the kernel (x.y / D + 1)^3 over random subsets.

    Returns:
        Mean and standard deviation over the subsets. Subsets hold half of the smaller side, at most
        `max_subset_size` films, so that they differ.
    """
    a, b = check_features(a, b)
    size = min(len(a), len(b))
    size = min(max(size // 2, min(size, 2)), max_subset_size)
    values = []
    for _ in range(num_subsets):
        x = torch.from_numpy(a[rng.permutation(len(a))[:size]].astype(np.float64))
        y = torch.from_numpy(b[rng.permutation(len(b))[:size]].astype(np.float64))
        values.append(float(poly_mmd(x, y)))
    return float(np.mean(values)), float(np.std(values))


def kernel_influence(
    a: np.ndarray, b: np.ndarray, max_reference: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Influence of each film on the MMD^2 of features (N, D) and (M, D): (N,) and (M,), each of mean 0.

    2 (mean kernel to the own set - mean kernel to the other set), see `frechet_influence` for the use. The
    means are over the first `max_reference` films of a set, so that the cost grows with N and not its square.
    """
    a, b = check_features(a, b)

    def mean_kernel(x: np.ndarray, reference: np.ndarray, own: bool) -> np.ndarray:
        reference = reference[:max_reference].astype(np.float64)
        parts = []
        for start, rows in zip(range(0, len(x), BLOCK), _blocks(x), strict=True):
            kernel = (rows @ reference.T / x.shape[1] + 1.0) ** 3
            counts = np.full(len(rows), float(len(reference)))
            if own:  # a film is no neighbour of itself
                inside = np.arange(start, min(start + len(rows), len(reference)))
                kernel[inside - start, inside] = 0.0
                counts[inside - start] -= 1.0
            parts.append(kernel.sum(axis=1) / counts)
        return np.concatenate(parts)

    influences = []
    for x, y in ((a, b), (b, a)):
        influence = 2.0 * (mean_kernel(x, x, True) - mean_kernel(x, y, False))
        influences.append(influence - influence.mean())
    return influences[0], influences[1]
