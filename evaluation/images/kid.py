"""KID, with each film's influence on it."""

import numpy as np

from evaluation.images import features
from evaluation.images.features import check_features, feature_blocks
from evaluation.images.inputs import FilmInputs
from evaluation.metric import Figure, Metric, needed


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
    import torch
    from torchmetrics.image.kid import poly_mmd

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
        for start, rows in zip(range(0, len(x), features.BLOCK), feature_blocks(x), strict=True):
            kernel = (rows @ reference.T / x.shape[1] + 1.0) ** 3
            counts = np.full(len(rows), float(len(reference)))
            if own:  # a film is no neighbor of itself
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


def _compute(films: FilmInputs) -> Figure:
    sets, rng = needed(films.features), films.rng("kid")

    def influence() -> np.ndarray:
        made, real = kernel_influence(sets.synthetic, sets.real)
        return films.spread(made / len(made), real / len(real), fill=0.0)

    value, spread = kernel_distance(sets.synthetic, sets.real, rng)
    floor, floor_spread = (None, None) if sets.floor is None else kernel_distance(sets.floor, sets.real, rng)
    return Figure(
        value, floor=floor, influence=influence, more={"kid_std": spread, "kid_floor_std": floor_spread}
    )


METRICS = (
    Metric(
        key="kid",
        title="KID",
        section="films",
        direction="lower",
        range=(-np.inf, np.inf),
        scale=1000.0,
        convention="unbiased MMD^2, kernel (x.y / D + 1)^3, mean over 50 random subsets of half the films, "
        "at most 1,000; kid_std: its deviation over the subsets; floor and interval as those of FID",
        source="Binkowski et al., ICLR 2018, eq. 4",
        needs=("features",),
        compute=_compute,
        interval="influence",
        floor="kid_floor",
        headline=3,
    ),
)
