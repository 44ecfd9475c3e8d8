"""Do film and text belong together, by a domain CLIP? Scores and retrieval from unit embeddings.

CLIP score: cosine of the two embeddings, times 100 (Hessel et al., EMNLP 2021, without their factor 2.5).
"""

from collections.abc import Mapping, Sequence

import numpy as np

EDGES = (("prompt", "film"), ("film", "report"), ("prompt", "report"))


def score_edges(embeddings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CLIP score of each item by side of the triangle: "clip_prompt_film" ... -> (N,), NaN: unknown."""
    return {
        f"clip_{a}_{b}": 100.0 * (embeddings[a] * embeddings[b]).sum(axis=1)
        for a, b in EDGES
        if a in embeddings and b in embeddings
    }


def retrieve(
    queries: np.ndarray,
    targets: np.ndarray,
    rng: np.random.Generator,
    pool: int,
    ranks: Sequence[int] = (1, 5),
) -> dict[int, np.ndarray]:
    """Whether each query's own target is among the k nearest of a pool; rows (N, D) are paired.

    R@k is the mean of these.

    Pools are disjoint random sets of `pool` items, so that R@k does not depend on N. Where equal targets
    (the same report twice) tie with the own one, the expected hit under a random order counts.

    Returns:
        k -> (N,) hits in 0..1, NaN for an item of no pool: what is left over, or has no embedding.
    """
    known = np.flatnonzero(np.isfinite(queries).all(axis=1) & np.isfinite(targets).all(axis=1))
    order = rng.permutation(known)
    hits = {k: np.full(len(queries), np.nan) for k in ranks}
    for start in range(0, len(order) - pool + 1, pool):
        rows = order[start : start + pool]
        similarity = (queries[rows] @ targets[rows].T).astype(np.float64)
        own = similarity.diagonal()[:, None]
        ahead = (similarity > own + 1e-6).sum(axis=1)
        tied = (np.abs(similarity - own) <= 1e-6).sum(axis=1)
        for k in ranks:
            hits[k][rows] = np.clip((k - ahead) / tied, 0.0, 1.0)
    return hits
