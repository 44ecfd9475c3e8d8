"""Clinical F1: do the generated and the real report of a film name the same findings?"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from evaluation.metric import Figure, Items, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.findings import (
    POSITIVE_ONLY,
    UNCERTAIN_POLICIES,
    positive_sides,
    score_conventions,
    score_f1,
)

_SOURCE = "Irvin et al., AAAI 2019 (findings); F1 as scikit-learn's precision_recall_fscore_support"
_AVERAGES = {"micro": "all decisions together", "macro": "mean over the findings positive on either side"}


def _compute(reports: ReportInputs, key: str) -> Figure:
    found = reports.once("f1", lambda: score_f1(reports.truth, reports.guess))
    baseline = reports.once("baseline f1", lambda: score_f1(reports.truth, reports.constant_guess))
    more = {name: found[name] for name in ("per_finding", "undefined", "num_scored")}
    more["clinical"] = reports.once("clinical", lambda: score_conventions(reports.truth, reports.guess))
    items = {"truth": reports.truth, "guess": reports.guess}
    return Figure(found[key], floor=baseline[key], more=more, items=items)


def _estimate(items: Items, key: str) -> Mapping[str, Estimator]:
    average, _, count = key.split("_")
    rows = np.ones(len(items["truth"]), bool)
    return {key: weighted_estimators.f1(items["truth"], items["guess"], rows, average, int(count))}


def _compute_convention(reports: ReportInputs, policy: str, key: str) -> Figure:
    found = reports.once("clinical", lambda: score_conventions(reports.truth, reports.guess))
    return Figure(found[policy][key], items={"truth": reports.truth, "guess": reports.guess})


def _estimate_convention(items: Items, policy: str, key: str) -> Mapping[str, Estimator]:
    truth, guess = positive_sides(items["truth"], items["guess"], policy)
    sides = {"truth": truth, "guess": guess}
    return {f"clinical.{policy}.{key}": _estimate(sides, key)[key]}


_KEYS = [(f"{average}_f1_{count}", average, count) for count in (14, 5) for average in ("micro", "macro")]
METRICS = tuple(
    Metric(
        key=key,
        title=f"{average}-F1, {count} findings",
        section="reports",
        direction="higher",
        convention="labeler (inputs.reports.labeler) on the generated and on the real report of the same "
        "film; "
        f"{POSITIVE_ONLY}; {_AVERAGES[average]}; baseline: the most frequent report of the training rows (of "
        "the references, where there are none) given for every film",
        source=_SOURCE,
        needs=("texts", "labels"),
        compute=partial(_compute, key=key),
        estimate=partial(_estimate, key=key),
        floor=f"baseline.{key}",
        headline=10 if key == "micro_f1_14" else 11 if key == "macro_f1_14" else 0,
    )
    for key, average, count in _KEYS
) + tuple(
    Metric(
        key=f"clinical.{policy}.{key}",
        title=f"{average}-F1, {count} findings, uncertain as {policy}",
        section="reports",
        direction="higher",
        convention=f"as {key}, but {UNCERTAIN_POLICIES[policy]}; not mentioned is negative",
        source=_SOURCE,
        needs=("texts", "labels"),
        compute=partial(_compute_convention, policy=policy, key=key),
        estimate=partial(_estimate_convention, policy=policy, key=key),
        row=False,
    )
    for policy in ("positive", "ignore")
    for key, average, count in _KEYS
)
