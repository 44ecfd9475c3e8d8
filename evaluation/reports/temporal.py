"""Temporal-entity F1: do both reports speak of the same changes? Asked for by --temporal.

Bannur et al., CVPR 2023 (BioViL-T), whose list of words this is; averaged and smoothed as Zhang et al.
(Libra, 2024) do, where a report without such a word agrees with another one.
"""

import re

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs

_LIST = (
    "bigger change cleared constant decrease decreased decreasing elevated elevation enlarged enlargement "
    "enlarging expanded greater growing improved improvement improving increase increased increasing larger "
    "new persistence persistent persisting progression progressive reduced removal resolution resolved "
    "resolving smaller stability stable stably unchanged unfolded worse worsen worsened worsening unaltered"
)
WORDS = tuple(_LIST.split())
_WORD = re.compile(rf"\b(?:{'|'.join(WORDS)})\b")
EPSILON = 1e-10


def find_changes(report: str) -> frozenset[str]:
    """The distinct words of change in a report; those in a hyphenated word count."""
    return frozenset(_WORD.findall(re.sub(r"[_-]+", " ", report.lower())))


def score_temporal(reference: str, hypothesis: str) -> float:
    """F1 of the words of change of two reports; 1 where neither has one."""
    real, made = find_changes(reference), find_changes(hypothesis)
    if not real:
        return EPSILON if made else 1.0
    shared = len(real & made) + EPSILON
    precision, recall = shared / (len(made) + EPSILON), shared / (len(real) + EPSILON)
    return 2.0 * precision * recall / (precision + recall + EPSILON)


def _compute(reports: ReportInputs) -> Figure:
    pairs = list(zip(reports.real_reports, reports.generated_reports, strict=True))
    each = np.array([score_temporal(*pair) for pair in pairs])
    changed = float(np.mean([bool(find_changes(real)) for real, _ in pairs]))
    return Figure(float(each.mean()), each=each, more={"share_temporal_real": changed})


METRICS = (
    Metric(
        key="temporal_f1",
        title="temporal-entity F1",
        section="reports",
        direction="higher",
        convention="mean over reports of the F1 of the distinct words of change (stable, worsened, new ...); "
        "1 where neither report has one, which a set without comparisons is full of: see share_temporal_real",
        source="Bannur et al., CVPR 2023, with the smoothing of Libra (Zhang et al., 2024)",
        needs=("texts",),
        compute=_compute,
        flag="temporal",
    ),
)
