"""Which part of the real films is covered, by feature distances: precision, recall, density and coverage."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from evaluation.images.features import check_features
from evaluation.images.inputs import FilmInputs
from evaluation.metric import Figure, Metric, needed

if TYPE_CHECKING:
    import torch  # else where it is used, so that the list of metrics does not wait for it

NUM_NEIGHBORS = 5
BLOCK = 2048  # rows of a block of distances


def squared_distances(a: "torch.Tensor", b: "torch.Tensor") -> "torch.Tensor":
    """(N, M) squared Euclidean distances of rows (N, D) and (M, D), not below 0."""
    norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None]
    return norms.addmm_(a, b.T, alpha=-2.0).clamp_(min=0.0)


def _blocks(x: np.ndarray, center: np.ndarray) -> Iterator[tuple[int, "torch.Tensor"]]:
    """Rows about a common center, where float32 keeps all the digits of a distance that matter."""
    import torch

    for start in range(0, len(x), BLOCK):
        yield start, torch.from_numpy((x[start : start + BLOCK] - center).astype(np.float32))


def neighbor_radii(x: np.ndarray, center: np.ndarray, k: int = NUM_NEIGHBORS) -> "torch.Tensor":
    """(N,) squared distance of each row (N, D) to its k-th nearest other row.

    Raises:
        ValueError: k rows or fewer.
    """
    import torch

    if len(x) <= k:
        raise ValueError(f"{len(x)} films: more than {k} are needed")
    radii = []
    for start, rows in _blocks(x, center):
        nearest = torch.full((len(rows), k), torch.inf)
        for column, others in _blocks(x, center):
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
    k: int = NUM_NEIGHBORS,
    real_radii: "torch.Tensor | None" = None,
) -> dict[str, np.ndarray]:
    """What each film adds to the figures of `score_coverage`, which are the means of these.

    A film lies on a set's manifold when it is nearer to one of its films than that film's k-th neighbor is.

    Args:
        real_radii: `neighbor_radii` of the real films about their mean, where they are known already.

    Returns:
        "precision", "density": (M,) of synthetic features (M, D); "recall", "coverage": (N,) of real (N, D).

    Raises:
        ValueError: a side with k films or fewer.
    """
    import torch

    real, synthetic = check_features(real, synthetic)
    center = real.mean(axis=0, dtype=np.float64)
    real_radii = neighbor_radii(real, center, k) if real_radii is None else real_radii
    synthetic_radii = neighbor_radii(synthetic, center, k)
    inside_real = torch.zeros(len(synthetic), dtype=torch.float64)  # balls of real films each one lies in
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for start, rows in _blocks(real, center):
        here = slice(start, start + len(rows))
        for column, others in _blocks(synthetic, center):
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


def score_coverage(real: np.ndarray, synthetic: np.ndarray, k: int = NUM_NEIGHBORS) -> dict[str, float]:
    """precision, recall, density and coverage of synthetic features (M, D) against real ones (N, D)."""
    return {name: float(values.mean()) for name, values in share_coverage(real, synthetic, k).items()}


def _share_films(films: FilmInputs) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """`share_coverage` of synthetic and of floor films; {} for a handful of films."""
    sets = needed(films.features)
    if len(sets.synthetic) <= NUM_NEIGHBORS:
        return {}, {}
    radii = neighbor_radii(sets.real, sets.real.mean(axis=0, dtype=np.float64))
    return (
        share_coverage(sets.real, sets.synthetic, real_radii=radii),
        {} if sets.floor is None else share_coverage(sets.real, sets.floor, real_radii=radii),
    )


def _compute(films: FilmInputs, name: str) -> Figure:
    made, floor = films.once("coverage", lambda: _share_films(films))
    if name not in made:
        return Figure(None)
    of_real = name in ("recall", "coverage")  # shares of real films
    each = films.spread(None, made[name]) if of_real else films.spread(made[name])
    mean = float(floor[name].mean()) if name in floor else None
    return Figure(float(made[name].mean()), floor=mean, each=each)


_KYNKAANNIEMI, _NAEEM = "Kynkäänniemi et al., NeurIPS 2019, eq. ", "Naeem et al., ICML 2020, eq. "
_HELD = (
    "interval with the manifolds held, which leaves out that another draw of the other set would move them"
)
METRICS = tuple(
    Metric(
        key=name,
        title=name,
        section="films",
        direction="as floor",
        range=(0.0, np.inf if name == "density" else 1.0),
        convention=f"{convention}; {_HELD}",
        source=source,
        needs=("features",),
        compute=partial(_compute, name=name),
        floor=f"{name}_floor",
    )
    for name, source, convention in (
        (
            "precision",
            f"{_KYNKAANNIEMI}1 and 2",
            "share of synthetic films inside the real films' manifold, the balls of radius "
            f"{NUM_NEIGHBORS}th nearest neighbor",
        ),
        (
            "recall",
            f"{_KYNKAANNIEMI}1 and 2",
            "share of real films inside the synthetic films' manifold, see precision",
        ),
        (
            "density",
            f"{_NAEEM}4",
            "mean number of real films' balls that a synthetic film lies in, by "
            f"{NUM_NEIGHBORS}, see precision",
        ),
        ("coverage", f"{_NAEEM}5", "share of real films whose ball holds a synthetic film, see precision"),
    )
)
