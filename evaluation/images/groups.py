"""FID, KID and Vendi score of groups of films: sets of one size, for their bias depends on it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evaluation.images.inputs import FeatureSets, FilmInputs
from evaluation.images.per_finding import MIN_FOR_KID
from evaluation.inputs.groupings import Grouping
from evaluation.metric import Metric, score_metrics
from evaluation.statistics.groups import own_key


def measure_groups(
    metrics: Sequence[Metric],
    inputs: FilmInputs,
    sets: FeatureSets,
    groupings: Sequence[Grouping],
    tables: Sequence[pd.DataFrame],
) -> dict[str, np.ndarray]:
    """Items of the distances of each group that has MIN_FOR_KID films on both sides.

    All groups of a column give as many films, those of the smallest of them, drawn at random.

    Args:
        metrics: those of features; measured are those whose interval comes by influence.
        tables: rows of the films of `sets.synthetic`, of `sets.real`, and of `sets.floor`, which is measured
            where the group has films enough of it.
    """
    asked = [metric for metric in metrics if metric.interval == "influence"]
    items: dict[str, np.ndarray] = {}
    for grouping in groupings:
        column, sides = grouping.column, [grouping.assign(table) for table in tables]
        rows = {name: [np.flatnonzero(side == name) for side in sides] for name in grouping.names}
        rows = {name: parts for name, parts in rows.items() if min(map(len, parts[:2])) >= MIN_FOR_KID}
        num = min((len(side) for parts in rows.values() for side in parts[:2]), default=0)
        for name, parts in rows.items():
            rng = inputs.rng(own_key("films", column, name))
            made, real, floor = (np.sort(rng.permutation(side)[:num]) for side in parts)
            places = sets.rows or (np.arange(len(sets.synthetic)), np.arange(len(sets.real)))
            part = FeatureSets(
                sets.synthetic[made],
                sets.real[real],
                sets.floor[floor] if sets.floor is not None and len(floor) == num else None,
                rows=(places[0][made], places[1][real]),
                sizes=sets.sizes or (len(sets.synthetic), len(sets.real)),
            )
            figures, own = score_metrics(asked, replace(inputs, features=part), ("features",))
            for key in (key for metric in asked for key in (metric.floor, metric.ceiling)):
                if figures.get(key) is not None:
                    own[f"fixed_{key}"] = np.array(float(figures[key]))
            items |= {own_key(key, column, name): value for key, value in own.items()}
    return items
