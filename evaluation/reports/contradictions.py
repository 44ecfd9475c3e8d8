"""Do generated reports of real films contradict themselves? Their impression against the rest."""

from collections.abc import Mapping
from functools import partial

from evaluation.metric import Figure, Items, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.contradictions import TITLES, describe_kind, find_kinds


def _compute(reports: ReportInputs, kind: str) -> Figure:
    sides = (reports.generated_reports, reports.real_reports)
    made, real = reports.once("contradictions", lambda: [find_kinds(side) for side in sides])
    items = {f"contradicts_{kind}": made[kind], f"contradicts_{kind}_real": real[kind]}
    return Figure(float(made[kind].mean()), ceiling=float(real[kind].mean()), items=items)


def _estimate(items: Items, kind: str) -> Mapping[str, Estimator]:
    return {
        f"contradictions{end}.{kind}": weighted_estimators.mean_of(items[f"contradicts_{kind}{end}"])
        for end in ("", "_real")
    }


METRICS = tuple(
    Metric(
        key=f"contradictions.{kind}",
        title=title,
        section="reports",
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
