"""Is a synthetic film a copy of a training film? Nearest neighbors in pixels, in features, and registered.

Each distance to the nearest training film is held against the same distance of held-out real films, which
are no copies: a generator that memorizes comes closer than they do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_module.decoding import read_pixels
from data_module.film_types import FilmError
from data_module.resizing import fit_crop
from evaluation.images.coverage import squared_distances

if TYPE_CHECKING:
    import torch  # else where it is used, so that the list of metrics does not wait for it

SIDE = 64  # pixels at which films are compared
MARGIN = 8  # pixels that a film may be shifted for the registered comparison, to every side
ANGLES, SCALES = (-5.0, 0.0, 5.0), (0.93, 1.0, 1.07)  # degrees and factors tried
NUM_CANDIDATES = 3  # nearest by pixels and nearest by features that are registered
BLOCK = 1024
PAIRS_AT_ONCE = 64  # films registered together
DISTANCES = ("pixels", "features", "registered")
QUANTILE, FRACTION = 0.01, 0.5


def load_standardized(paths: Sequence[Path | None]) -> np.ndarray:
    """(N, SIDE, SIDE) float32 films of mean 0 and norm 1; NaN for one that cannot be read."""
    films = np.full((len(paths), SIDE, SIDE), np.nan, np.float32)
    for row, path in enumerate(paths):
        try:
            film = read_pixels(path) if path else None
        except FilmError:
            continue
        if film is not None:
            films[row] = standardize([film])[0]
    return films


def standardize(films: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Films (H, W) uint8 -> (N, SIDE, SIDE) float32 of mean 0 and norm 1."""
    small = np.stack([fit_crop(film, SIDE) for film in films]).astype(np.float32)
    small -= small.mean(axis=(1, 2), keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=(1, 2), keepdims=True), 1e-6)


def nearest(queries: np.ndarray, targets: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, k) rows of the nearest targets (M, D) of each query (N, D), and their Euclidean distances."""
    import torch

    k = min(k, len(targets))
    center = targets.mean(axis=0, dtype=np.float64)
    indices, distances = [], []
    for start in range(0, len(queries), BLOCK):
        rows = torch.from_numpy(queries[start : start + BLOCK] - center)
        best = torch.full((len(rows), 0), torch.inf, dtype=torch.float64)
        where = torch.empty((len(rows), 0), dtype=torch.long)
        for column in range(0, len(targets), BLOCK):
            others = torch.from_numpy(targets[column : column + BLOCK] - center)
            block = squared_distances(rows, others)
            best = torch.cat([best, block], dim=1)
            where = torch.cat(
                [where, torch.arange(column, column + len(others)).expand(len(rows), -1)], dim=1
            )
            best, order = best.topk(min(k, best.shape[1]), dim=1, largest=False)
            where = where.gather(1, order)
        indices.append(where.numpy())
        distances.append(best.sqrt().numpy())
    return np.concatenate(indices), np.concatenate(distances)


def _poses(films: "torch.Tensor") -> "list[torch.Tensor]":
    """Films (P, 1, S, S) turned, scaled and mirrored in every way that is tried."""
    import torch
    from torch.nn import functional as F

    poses = []
    for mirror in (1.0, -1.0):
        for angle in ANGLES:
            for scale in SCALES:
                cos, sin = np.cos(np.deg2rad(angle)) / scale, np.sin(np.deg2rad(angle)) / scale
                matrix = torch.tensor([[mirror * cos, -sin, 0.0], [mirror * sin, cos, 0.0]])
                grid = F.affine_grid(matrix.expand(len(films), 2, 3).float(), list(films.shape), False)
                poses.append(F.grid_sample(films, grid, padding_mode="border", align_corners=False))
    return poses


def registered_correlation(films: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(P, C) largest correlation of the center of each film (P, S, S) with each of its others (P, C, S, S).

    Normalized cross-correlation over all shifts at once by FFT (Lewis, Vision Interface 1995).
    """
    import torch
    from torch.nn import functional as F

    a, b = (torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in (films[:, None], others))
    window = SIDE - 2 * MARGIN
    spectra = torch.fft.rfft2(b)
    mean = F.avg_pool2d(b, window, stride=1)
    spread = (F.avg_pool2d(b.square(), window, stride=1) - mean.square()).clamp(min=1e-12).sqrt() * window
    best = torch.full(others.shape[:2], -1.0)
    for pose in _poses(a):
        template = pose[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        template = template - template.mean(dim=(-2, -1), keepdim=True)
        norm = template.flatten(1).norm(dim=1).clamp(min=1e-6)[:, None, None, None]
        moved = torch.fft.rfft2(template, s=(SIDE, SIDE))
        product = torch.fft.irfft2(spectra * moved.conj(), s=(SIDE, SIDE))
        valid = product[..., : 2 * MARGIN + 1, : 2 * MARGIN + 1]
        best = torch.maximum(best, (valid / (norm * spread)).flatten(2).amax(dim=2))
    return best.clamp(max=1.0).numpy()


def nearest_training_films(
    films: np.ndarray, features: np.ndarray, training: np.ndarray, training_features: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Distances of each film to its nearest training film, by kind, and which film that is, registered.

    Args:
        films, training: (N, S, S), (M, S, S) of `load_standardized`; features: (N, D), (M, D). No NaN.

    Returns:
        kind -> (N,) distances; (N,) rows of the training films.
    """
    by_pixels, pixels = nearest(
        films.reshape(len(films), -1), training.reshape(len(training), -1), NUM_CANDIDATES
    )
    by_features, feature_distances = nearest(features, training_features, NUM_CANDIDATES)
    candidates = np.concatenate([by_pixels, by_features], axis=1)
    correlations = np.empty(candidates.shape, np.float32)
    for start in range(0, len(films), PAIRS_AT_ONCE):
        rows = slice(start, start + PAIRS_AT_ONCE)
        correlations[rows] = registered_correlation(films[rows], training[candidates[rows]])
    best = correlations.argmax(axis=1)
    every = np.arange(len(films))
    distances = {
        "pixels": np.square(pixels[:, 0]) / 2.0,  # of unit vectors: 1 - correlation
        "features": feature_distances[:, 0],
        "registered": 1.0 - correlations[every, best],
    }
    return distances, candidates[every, best]


def compare_distances(synthetic: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> dict[str, Any]:
    """Distances of synthetic films against those of held-out real films, by kind.

    Returns:
        kind -> median, median_real, ratio, smallest, smallest_real, threshold, num_flagged, share_close;
        flagged: (N,) bool, of any kind; closeness: (N,) smallest distance / threshold.
    """
    result: dict[str, Any] = {}
    closeness = np.full(len(synthetic["pixels"]), np.inf)
    for name in DISTANCES:
        near = float(np.quantile(real[name], QUANTILE, method="lower"))
        threshold = FRACTION * near
        median, median_real = float(np.median(synthetic[name])), float(np.median(real[name]))
        result[name] = {
            "median": median,
            "median_real": median_real,
            "ratio": median / median_real if median_real else None,
            "smallest": float(synthetic[name].min()),
            "smallest_real": float(real[name].min()),
            "threshold": threshold,
            "num_flagged": int((synthetic[name] < threshold).sum()),
            "share_close": float((synthetic[name] < near).mean()),
        }
        # A copy in the real data makes the threshold 0; distance 0 is a copy all the same.
        closeness = np.minimum(closeness, synthetic[name] / max(threshold, 1e-6))
    result["flagged"], result["closeness"] = closeness < 1.0, closeness
    return result
