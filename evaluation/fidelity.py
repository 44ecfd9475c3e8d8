"""Distances between two sets of features: FID and KID, in float64.

FID: Heusel et al., NeurIPS 2017. KID: Binkowski et al., ICLR 2018.
"""

import numpy as np
import torch
from torchmetrics.image.kid import poly_mmd


def _check(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shapes {a.shape} and {b.shape}: (N, D) with one D is needed")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"{len(a)} and {len(b)} films: a distance needs at least 2 on each side")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features hold NaN or infinity")
    return a, b


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """FID of features (N, D) and (M, D): |mean difference|^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2).

    With S = R^T R, the trace of (S_a S_b)^1/2 is the sum of the singular values of R_b R_a^T. R comes from
    a QR of the centred features, so no covariance is formed and no square root of a matrix is taken: exact
    and finite also for N < D, where the covariances are singular.
    """
    a, b = _check(a, b)
    roots = [
        np.linalg.qr(x - x.mean(axis=0), mode="r") / np.sqrt(len(x) - 1) for x in (a, b)
    ]  # (min(N, D), D)
    mean_term = float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum())
    traces = sum(float(np.square(root).sum()) for root in roots)
    cross = float(np.linalg.svd(roots[1] @ roots[0].T, compute_uv=False).sum())
    return max(mean_term + traces - 2.0 * cross, 0.0)


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
    a, b = _check(a, b)
    size = min(len(a), len(b))
    size = min(max(size // 2, min(size, 2)), max_subset_size)
    values = []
    for _ in range(num_subsets):
        x = torch.from_numpy(a[rng.permutation(len(a))[:size]])
        y = torch.from_numpy(b[rng.permutation(len(b))[:size]])
        values.append(float(poly_mmd(x, y)))
    return float(np.mean(values)), float(np.std(values))
