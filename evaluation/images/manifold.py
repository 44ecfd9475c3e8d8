"""Which part of the real films is covered, and how varied the synthetic ones are, by feature distances.

Improved precision and recall: Kynkäänniemi et al., NeurIPS 2019. Density and coverage: Naeem et al., ICML
2020. Vendi score: Friedman and Dieng, TMLR 2023.
"""

from collections.abc import Iterator

import numpy as np
import torch

from evaluation.images.fidelity import check_features

NUM_NEIGHBOURS = 5
BLOCK = 2048  # rows of a block of distances
SMALLEST = 1e-12  # eigenvalue of the Vendi score that is not 0 by rounding


def squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(N, M) squared Euclidean distances of rows (N, D) and (M, D), not below 0."""
    norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None]
    return norms.addmm_(a, b.T, alpha=-2.0).clamp_(min=0.0)


def _blocks(x: np.ndarray, centre: np.ndarray) -> Iterator[tuple[int, torch.Tensor]]:
    """Rows about a common centre, where float32 keeps all the digits of a distance that matter."""
    for start in range(0, len(x), BLOCK):
        yield start, torch.from_numpy((x[start : start + BLOCK] - centre).astype(np.float32))


def neighbour_radii(x: np.ndarray, centre: np.ndarray, k: int = NUM_NEIGHBOURS) -> torch.Tensor:
    """(N,) squared distance of each row (N, D) to its k-th nearest other row.

    Raises:
        ValueError: k rows or fewer.
    """
    if len(x) <= k:
        raise ValueError(f"{len(x)} films: more than {k} are needed")
    radii = []
    for start, rows in _blocks(x, centre):
        nearest = torch.full((len(rows), k), torch.inf)
        for column, others in _blocks(x, centre):
            block = squared_distances(rows, others)
            if column == start:
                block.fill_diagonal_(torch.inf)
            joined = torch.cat([nearest, block], dim=1)
            nearest = joined.topk(k, dim=1, largest=False).values
        radii.append(nearest[:, -1])
    return torch.cat(radii)


def share_coverage(
    real: np.ndarray,
    synthetic: np.ndarray,
    k: int = NUM_NEIGHBOURS,
    real_radii: torch.Tensor | None = None,
) -> dict[str, np.ndarray]:
    """What each film adds to the figures of `score_coverage`, which are the means of these.

    A film lies on a set's manifold when it is nearer to one of its films than that film's k-th neighbour is.

    Args:
        real_radii: `neighbour_radii` of the real films about their mean, where they are known already.

    Returns:
        "precision", "density": (M,) of synthetic features (M, D); "recall", "coverage": (N,) of real (N, D).

    Raises:
        ValueError: a side with k films or fewer.
    """
    real, synthetic = check_features(real, synthetic)
    centre = real.mean(axis=0, dtype=np.float64)
    real_radii = neighbour_radii(real, centre, k) if real_radii is None else real_radii
    synthetic_radii = neighbour_radii(synthetic, centre, k)
    inside_real = torch.zeros(len(synthetic), dtype=torch.float64)  # balls of real films each one lies in
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for start, rows in _blocks(real, centre):
        here = slice(start, start + len(rows))
        for column, others in _blocks(synthetic, centre):
            there = slice(column, column + len(others))
            block = squared_distances(rows, others)
            inside = block < real_radii[here, None]
            inside_real[there] += inside.sum(dim=0)
            covered[here] |= inside.any(dim=1)
            recalled[here] |= (block < synthetic_radii[None, there]).any(dim=1)
    return {
        "precision": (inside_real > 0).double().numpy(),
        "recall": recalled.double().numpy(),
        "density": (inside_real / k).numpy(),
        "coverage": covered.double().numpy(),
    }


def score_coverage(real: np.ndarray, synthetic: np.ndarray, k: int = NUM_NEIGHBOURS) -> dict[str, float]:
    """precision, recall, density and coverage of synthetic features (M, D) against real ones (N, D)."""
    return {name: float(values.mean()) for name, values in share_coverage(real, synthetic, k).items()}


def _gram(features: np.ndarray) -> np.ndarray:
    """The N x N cosine kernel over N, or the D x D matrix with the same eigenvalues but 0: the smaller."""
    if len(features) <= features.shape[1]:
        rows = _normalise(features)
        return rows @ rows.T / len(features)
    gram = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), BLOCK):
        rows = _normalise(features[start : start + BLOCK])
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
        blocks = (_normalise(features[start : start + BLOCK]) for start in range(0, len(features), BLOCK))
        surprise = np.concatenate([-np.square(rows @ vectors) @ np.log(values) for rows in blocks])
    entropy = -(values * np.log(values)).sum()
    return np.exp(entropy) * (surprise - entropy)


def _normalise(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
