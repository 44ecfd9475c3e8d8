"""Do the synthetic reports contradict themselves? Their impression against their findings section."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from evaluation.metric import Figure, Items, Metric
from evaluation.pairs.inputs import PairInputs, means_of_both
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.contradictions import TITLES, describe_kind, find_kinds


def _compute(pairs: PairInputs, kind: str) -> Figure:
    if not (len(pairs.synthetic_reports) and len(pairs.real_reports)):
        return Figure(None)
    sides = (pairs.synthetic_reports, pairs.real_reports)
    made, real = pairs.once("contradictions", lambda: [find_kinds(reports) for reports in sides])
    items = {f"contradicts_{kind}": np.concatenate([made[kind], real[kind]])}
    return Figure(float(made[kind].mean()), ceiling=float(real[kind].mean()), items=items)


def _estimate(items: Items, kind: str) -> Mapping[str, Estimator]:
    return means_of_both(
        items, f"contradicts_{kind}", f"contradictions.{kind}", f"contradictions_real.{kind}"
    )


METRICS = tuple(
    Metric(
        key=f"contradictions.{kind}",
        title=title,
        section="pairs",
        direction="lower",
        convention=describe_kind(kind),
        source="own definition (data_module/labeler/consistency.py)",
        needs=("texts",),
        compute=partial(_compute, kind=kind),
        estimate=partial(_estimate, kind=kind),
        ceiling=f"contradictions_real.{kind}",
    )
    for kind, title in TITLES.items()
)
