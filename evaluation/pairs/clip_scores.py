"""CLIP scores: do film and text belong together, by a domain CLIP?"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.pairs.inputs import Embeddings, PairInputs, mean_known, means_of_both
from evaluation.statistics.bootstrap import shuffle

EDGES = (("prompt", "film"), ("film", "report"), ("prompt", "report"))


def score_edge(embeddings: Embeddings, a: str, b: str, rows: np.ndarray | None = None) -> np.ndarray:
    """(N,) CLIP score of each item, NaN: unknown. `rows`: whose b each item is given; its own by default."""
    others = embeddings[b] if rows is None else embeddings[b][rows]
    return 100.0 * (embeddings[a] * others).sum(axis=1)


def _compute(pairs: PairInputs, a: str, b: str) -> Figure:
    (_, made), (_, real) = pairs.both_sides()
    scores = [score_edge(side, a, b) for side in (made, real)]
    other = pairs.once("shuffled", lambda: shuffle(len(made["film"]), pairs.rng("clip")))
    return Figure(
        mean_known(scores[0]),
        floor=mean_known(score_edge(made, a, b, other)),
        ceiling=mean_known(scores[1]),
        items={f"score_clip_{a}_{b}": np.concatenate(scores)},
    )


def _estimate(items: Mapping[str, np.ndarray], key: str) -> dict:
    return means_of_both(items, f"score_{key}", key, f"{key}_real")


METRICS = tuple(
    Metric(
        key=f"clip_{a}_{b}",
        title=f"CLIP score, {a} and {b}",
        section="pairs",
        direction="higher",
        range=(-100.0, 100.0),
        convention="mean of 100 x cosine of the two embeddings of inputs.pairs.clip; texts are cut at its "
        "length, see num_texts_cut; floor: reports (or films) shuffled",
        source="Hessel et al., EMNLP 2021, eq. 1, without their factor 2.5 and their cut at 0",
        needs=("embeddings",),
        compute=partial(_compute, a=a, b=b),
        estimate=partial(_estimate, key=f"clip_{a}_{b}"),
        floor=f"clip_{a}_{b}_shuffled",
        ceiling=f"clip_{a}_{b}_real",
    )
    for a, b in EDGES
)
