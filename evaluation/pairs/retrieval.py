"""Retrieval: is a film's own report among the nearest of a pool, by a domain CLIP, and the reverse?"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.pairs.inputs import PairInputs, mean_known, means_of_both

MAX_POOL = 100
RANKS = (1, 5)
DIRECTIONS = {"film_to_report": ("film", "report"), "report_to_film": ("report", "film")}


def retrieve(
    queries: np.ndarray,
    targets: np.ndarray,
    rng: np.random.Generator,
    pool: int,
    ranks: Sequence[int] = RANKS,
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


def _pool(pairs: PairInputs) -> int:
    """As many items for synthetic and for real pairs: those with both embeddings, at most MAX_POOL."""
    known = [
        np.isfinite(side["film"]).all(axis=1) & np.isfinite(side["report"]).all(axis=1)
        for _, side in pairs.both_sides()
    ]
    return min(MAX_POOL, *(int(rows.sum()) for rows in known))


def _compute(pairs: PairInputs, direction: str, rank: int) -> Figure:
    a, b = DIRECTIONS[direction]
    pool = _pool(pairs)
    more: dict[str, object] = {}
    hits = []
    for end, side in pairs.both_sides():
        name = f"retrieval{end}.{direction}"
        if pool < 2:
            more[name] = None
            continue
        found = pairs.once(
            name, lambda side=side, name=name: retrieve(side[a], side[b], pairs.rng(name), pool)
        )
        hits.append(found[rank])
        more[f"{name}.r@{rank}"] = mean_known(found[rank])
        more[f"{name}.pool"] = pool
    if not hits:
        return Figure(None, more=more)
    items = {f"retrieval_{direction}_{rank}": np.concatenate(hits)}
    return Figure(mean_known(hits[0]), ceiling=mean_known(hits[1]), more=more, items=items)


def _estimate(items: Mapping[str, np.ndarray], direction: str, rank: int) -> dict:
    ends = (f"retrieval{end}.{direction}.r@{rank}" for end in ("", "_real"))
    return means_of_both(items, f"retrieval_{direction}_{rank}", *ends)


METRICS = tuple(
    Metric(
        key=f"retrieval.{direction}.r@{rank}",
        title=f"retrieval, {direction.replace('_', ' ')}, R@{rank}",
        section="pairs",
        direction="higher",
        convention=f"share of items whose own report (film) is among the {rank} nearest of a pool of items; "
        f"disjoint random pools of the same size for synthetic and real, at most {MAX_POOL}; ties count as "
        "their expected hit; interval with the pools held",
        source="Radford et al., ICML 2021 (recall at k)",
        needs=("embeddings",),
        compute=partial(_compute, direction=direction, rank=rank),
        estimate=partial(_estimate, direction=direction, rank=rank),
        ceiling=f"retrieval_real.{direction}.r@{rank}",
        row=False,
    )
    for direction in DIRECTIONS
    for rank in RANKS
)
