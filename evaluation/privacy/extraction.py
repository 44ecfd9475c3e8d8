"""Do films drawn from training prompts give training films back? Three criteria, each of films alone.

An extraction is a film that is much nearer to one training film than to the next ones (Carlini et al., 2023,
arXiv 2301.13188, sec. 5.1). A copy is nearer to a training film than held-out real films ever come, which
sets the limit by real films (Dar et al., 2024, arXiv 2402.01054, take a quantile of theirs). A clique is of
draws of one prompt that are copies of each other (Carlini et al., sec. 4.2), and asks no training film.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.privacy.distances import (
    FRACTION,
    QUANTILE,
    compare_distances,
    nearest,
    nearest_training_films,
)
from evaluation.statistics.bootstrap import CONFIDENCE

NUM_NEIGHBORS, ALPHA = 50, 0.5  # n and alpha of the paper's relative distance
LEAST_CLIQUE, CLIQUE_SHARE = 3, 0.02  # draws that are one film; the paper asks for 10 of 500
CRITERIA = {
    "extraction": f"a draw whose distance to the nearest training film is at most {ALPHA} of its mean "
    f"distance to the {NUM_NEIGHBORS} nearest (pixels; arXiv 2301.13188, sec. 5.1)",
    "own": "an extraction whose training film has the prompt that was drawn",
    "copy": f"a draw nearer to a training film than {FRACTION} of the {QUANTILE:.0%} quantile of held-out "
    "real films' distances, in pixels, features or registered (after arXiv 2402.01054, stricter)",
    "clique": f"draws of one prompt, at least {LEAST_CLIQUE} and {CLIQUE_SHARE:.0%} of them, all "
    "nearer to each other than the limit of a copy in pixels (arXiv 2301.13188, sec. 4.2)",
}
Films = tuple[np.ndarray, np.ndarray]  # (N, S, S) standardized films, (N, D) features


@dataclass(frozen=True)
class Search:
    """N films against the training films.

    Attributes:
        relative: (N,) the paper's relative distance; 1 or less is an extraction.
        nearest: (N,) rows of the training films nearest in pixels.
        copies: (N,) bool.
    """

    relative: np.ndarray
    nearest: np.ndarray
    copies: np.ndarray

    @property
    def extracted(self) -> np.ndarray:
        """(N,) bool."""
        return self.relative <= 1.0


def search_films(draws: Films, held_out: Films, training: Films) -> tuple[Search, Search, float]:
    """Draws and held-out real films against the training films, and the limit of a copy in pixels."""
    distances = [nearest_training_films(*films, *training)[0] for films in (draws, held_out)]
    compared = [compare_distances(found, distances[1]) for found in distances]
    searches = [
        Search(*relative_distances(films[0], training[0]), result["flagged"])
        for films, result in zip((draws, held_out), compared, strict=True)
    ]
    return searches[0], searches[1], compared[0]["pixels"]["threshold"]


def relative_distances(films: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distance to the nearest training film over ALPHA times the mean to the NUM_NEIGHBORS nearest, and
    (N,) rows of the nearest; films (N, S, S), (M, S, S) of `distances.load_standardized`."""
    flat, targets = films.reshape(len(films), -1), training.reshape(len(training), -1)
    rows, distances = nearest(flat, targets, NUM_NEIGHBORS)
    return distances[:, 0] / np.maximum(ALPHA * distances.mean(axis=1), 1e-12), rows[:, 0]


def has_clique(films: np.ndarray, limit: float) -> bool:
    """Whether enough films (N, S, S), standardized, are all nearer than `limit` to each other."""
    import networkx

    size = max(LEAST_CLIQUE, int(np.ceil(CLIQUE_SHARE * len(films))))
    flat = films.reshape(len(films), -1).astype(np.float64)
    close = (1.0 - flat @ flat.T < max(limit, 1e-6)) & ~np.eye(len(films), dtype=bool)
    graph = networkx.k_core(networkx.from_numpy_array(close), size - 1)  # what can be in one
    return any(len(clique) >= size for clique in networkx.find_cliques(graph))


def judge_group(
    search: Search, films: np.ndarray, rows: Sequence[int], own: Sequence[int], limit: float
) -> dict[str, Any]:
    """How many draws of a group meet each criterion; of a clique whether there is one.

    Args:
        rows: of the group's films among those searched.
        own: training films with the group's prompt.
    """
    picked = np.asarray(rows)
    extracted = search.extracted[picked]
    return {
        "extraction": int(extracted.sum()),
        "own": int((extracted & np.isin(search.nearest[picked], own)).sum()),
        "copy": int(search.copies[picked].sum()),
        "clique": int(has_clique(films[picked], limit)),
    }


def share(count: int, num: int) -> dict[str, Any]:
    """A share with its Clopper-Pearson interval; None for both where there is nothing."""
    from scipy.stats import binomtest

    if not num:
        return {"count": count, "num": num, "share": None, "interval": None}
    low, high = binomtest(count, num).proportion_ci(CONFIDENCE, method="exact")
    return {"count": count, "num": num, "share": count / num, "interval": [float(low), float(high)]}


def compare_shares(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """p-value that the one share is no larger than the other (Fisher's exact test, one-sided)."""
    from scipy.stats import hypergeom

    if not one["num"] or not other["num"]:
        return None
    # Of all that were found, at least as many on the one side as there are.
    found = one["count"] + other["count"]
    return float(hypergeom.sf(one["count"] - 1, one["num"] + other["num"], found, one["num"]))
