"""The clinical terms of a report, blind to negation: findings, anatomy and sides."""

import re

import numpy as np

from data_module.labeler.events import find_events
from data_module.labeler.text import read_statements
from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs

_SIDE = re.compile(r"\b(?:left|right|bilateral)\b")


def find_terms(report: str) -> frozenset[str]:
    """Distinct phrases of findings and anatomy, and sides, of the statements of a report; lower case."""
    terms: set[str] = set()
    for sentence in read_statements(report):
        terms |= {
            sentence[event.start : event.end]
            for event in find_events(sentence)
            if event.kind in ("FINDING", "ANATOMY")
        }
        terms |= set(_SIDE.findall(sentence))
    return frozenset(terms)


def score_terms(reference: str, hypothesis: str) -> float:
    """F1 of the two reports' terms; NaN where neither has one."""
    a, b = find_terms(reference), find_terms(hypothesis)
    return 2.0 * len(a & b) / (len(a) + len(b)) if a or b else float("nan")


def _compute(reports: ReportInputs) -> Figure:
    pairs = zip(reports.references, reports.hypotheses, strict=True)
    each = np.array([score_terms(*pair) for pair in pairs])
    return Figure(float(np.nanmean(each)) if np.isfinite(each).any() else None, each=each)


METRICS = (
    Metric(
        key="terms_f1",
        title="clinical-terms F1",
        section="reports",
        direction="higher",
        convention="mean F1 of the distinct phrases of findings, anatomy and side; blind to negation",
        source="own definition (evaluation/reports/terms.py)",
        needs=("texts",),
        compute=_compute,
    ),
)
