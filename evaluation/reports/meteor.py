"""METEOR, by the Java program that pycocoevalcap holds; asked for by --meteor."""

import shutil
from collections.abc import Sequence

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.reports.overlap import normalize


def score_meteor(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """METEOR 1.5 of each of N pairs, (N,), by pycocoevalcap.

    Texts are normalized to one line first: METEOR reads line by line, and waits for ever after a line break.

    Raises:
        ValueError: there is no Java to run it.
    """
    if shutil.which("java") is None:
        raise ValueError("--meteor runs a Java program, and there is no `java`: install one, or leave it out")
    from pycocoevalcap.meteor.meteor import Meteor

    gts = {row: [normalize(text)] for row, text in enumerate(references)}
    res = {row: [normalize(text)] for row, text in enumerate(hypotheses)}
    scorer = Meteor()
    return np.asarray(scorer.compute_score(gts, res)[1])


def _compute(reports: ReportInputs) -> Figure:
    each = score_meteor(reports.references, reports.hypotheses)
    return Figure(float(each.mean()), each=each)


METRICS = (
    Metric(
        key="meteor",
        title="METEOR",
        section="reports",
        direction="higher",
        convention="METEOR 1.5 by pycocoevalcap, mean over reports; normalization of BLEU",
        source="Denkowski and Lavie, WMT 2014, by pycocoevalcap (Java)",
        needs=("texts",),
        compute=_compute,
        flag="meteor",
        headline=15,
    ),
)
