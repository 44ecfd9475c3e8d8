"""Is a synthetic film a copy of a training film? Nearest neighbours in pixels, in features, and registered.

Each distance to the nearest training film is held against the same distance of held-out real films, which
are no copies: a generator that memorises comes closer than they do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from data_module.images import FilmError, fit_crop, read_pixels
from evaluation.images.manifold import squared_distances

SIDE = 64  # pixels at which films are compared
MARGIN = 8  # pixels that a film may be shifted for the registered comparison, to every side
ANGLES, SCALES = (-5.0, 0.0, 5.0), (0.93, 1.0, 1.07)  # degrees and factors tried
NUM_CANDIDATES = 3  # nearest by pixels and nearest by features that are registered
BLOCK = 1024
PAIRS_AT_ONCE = 64  # films registered together
MEASURES = ("pixels", "features", "registered")
QUANTILE, FRACTION = 0.01, 0.5

CONVENTIONS = {
    "privacy.pixels": f"1 - correlation of the films at {SIDE}x{SIDE}, to the nearest training film",
    "privacy.features": "Euclidean distance of the first extractor's features, to the nearest training film",
    "privacy.registered": f"1 - largest correlation of the film's centre over shifts of +-{MARGIN} pixels, "
    f"rotations {ANGLES}, scales {SCALES} and mirroring, with the {NUM_CANDIDATES} nearest by pixels and by "
    "features",
    "privacy.ratio": "median distance of synthetic films by that of held-out real films: below 1, closer",
    "privacy.num_flagged": f"films nearer than {FRACTION} x the {QUANTILE:.0%} quantile of held-out real "
    "ones, in any of the three",
    "privacy.share_close": f"films nearer than that quantile; {QUANTILE} by chance",
    "privacy.intervals": "95% percentile bootstrap, patients resampled, of ratio and share_close; thresholds "
    "held",
    "privacy.reports": "see results: sentences of 8 words or more that stand verbatim in a training report; "
    "reports whose word triples overlap with a training report's (Jaccard) by 0.8 or more",
}


def load_standardised(paths: Sequence[Path | None]) -> np.ndarray:
    """(N, SIDE, SIDE) float32 films of mean 0 and norm 1; NaN for one that cannot be read."""
    films = np.full((len(paths), SIDE, SIDE), np.nan, np.float32)
    for row, path in enumerate(paths):
        try:
            film = fit_crop(read_pixels(path), SIDE).astype(np.float32) if path else None
        except FilmError:
            continue
        if film is not None:
            film -= film.mean()
            films[row] = film / max(float(np.linalg.norm(film)), 1e-6)
    return films


def nearest(queries: np.ndarray, targets: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, k) rows of the nearest targets (M, D) of each query (N, D), and their Euclidean distances."""
    k = min(k, len(targets))
    centre = targets.mean(axis=0, dtype=np.float64)
    indices, distances = [], []
    for start in range(0, len(queries), BLOCK):
        rows = torch.from_numpy(queries[start : start + BLOCK] - centre)
        best = torch.full((len(rows), 0), torch.inf, dtype=torch.float64)
        where = torch.empty((len(rows), 0), dtype=torch.long)
        for column in range(0, len(targets), BLOCK):
            others = torch.from_numpy(targets[column : column + BLOCK] - centre)
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


def _poses(films: torch.Tensor) -> list[torch.Tensor]:
    """Films (P, 1, S, S) turned, scaled and mirrored in every way that is tried."""
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
    """(P, C) largest correlation of the centre of each film (P, S, S) with each of its others (P, C, S, S).

    Normalised cross-correlation over all shifts at once by FFT (Lewis, Vision Interface 1995).
    """
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
    """Distances of each film to its nearest training film, by measure, and which film that is, registered.

    Args:
        films, training: (N, S, S), (M, S, S) of `load_standardised`; features: (N, D), (M, D). No NaN.

    Returns:
        measure -> (N,) distances; (N,) rows of the training films.
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
    """Distances of synthetic films against those of held-out real films, by measure; see CONVENTIONS.

    Returns:
        measure -> median, median_real, ratio, smallest, smallest_real, threshold, num_flagged, share_close;
        flagged: (N,) bool, in any measure; closeness: (N,) smallest distance / threshold.
    """
    result: dict[str, Any] = {}
    closeness = np.full(len(synthetic["pixels"]), np.inf)
    for name in MEASURES:
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
