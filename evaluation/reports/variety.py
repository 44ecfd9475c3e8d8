"""How varied generated reports are: distinct reports and the share of normal ones, beside the real ones."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.metric import Figure, Items, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.reports.overlap import normalize
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.findings import is_normal


def describe_texts(texts: Sequence[str]) -> dict[str, float]:
    """num_distinct_reports (after normalization), share of the most frequent one, mean number of words."""
    words = [normalize(text) for text in texts]
    return {
        "num_distinct_reports": len(set(words)),
        "share_most_frequent": Counter(words).most_common(1)[0][1] / len(words),
        "mean_num_words": float(np.mean([len(text.split()) for text in words])),
    }


def most_frequent_report(texts: Sequence[str]) -> str:
    """The text that stands there most often after normalization, as first written; the first of equals."""
    words = [normalize(text) for text in texts]
    return texts[words.index(Counter(words).most_common(1)[0][0])]


def share_normal(labels: np.ndarray) -> float:
    """The share of normal reports (labels (N, 14)), see `findings.is_normal`."""
    return float(is_normal(labels).mean())


def _count_distinct(reports: ReportInputs) -> Figure:
    own, real = describe_texts(reports.hypotheses), describe_texts(reports.references)
    more = own | {f"{name}_real": value for name, value in real.items()}
    return Figure(own["num_distinct_reports"], ceiling=real["num_distinct_reports"], more=more)


def _count_normal(reports: ReportInputs) -> Figure:
    items = {"truth": reports.truth, "guess": reports.guess}
    return Figure(share_normal(reports.guess), ceiling=share_normal(reports.truth), items=items)


def _estimate_normal(items: Items) -> Mapping[str, Estimator]:
    return {
        f"share_normal{end}": weighted_estimators.mean_of(is_normal(items[side]).astype(np.float64))
        for end, side in (("", "guess"), ("_real", "truth"))
    }


METRICS = (
    Metric(
        key="num_distinct_reports",
        title="distinct reports",
        section="reports",
        direction="as real",
        range=(1.0, np.inf),
        convention="number of different reports after the normalization of BLEU; it has no interval, for a "
        "resample, which repeats reports, has fewer by itself",
        source="own definition (evaluation/reports/variety.py)",
        needs=("texts",),
        compute=_count_distinct,
        interval="none",
        ceiling="num_distinct_reports_real",
    ),
    Metric(
        key="share_normal",
        title="share of normal reports",
        section="reports",
        direction="as real",
        convention="reports without a positive finding other than No Finding and Support Devices",
        source="own definition (evaluation/statistics/findings.py)",
        needs=("texts", "labels"),
        compute=_count_normal,
        estimate=_estimate_normal,
        ceiling="share_normal_real",
    ),
)
