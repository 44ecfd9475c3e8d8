"""Contradictions within reports, as metrics of pairs and of reports."""

import numpy as np
import pytest

from data_module.labeler import label_reports
from evaluation.metric import metrics_of
from evaluation.pairs.section import evaluate_pairs
from evaluation.reports.section import evaluate_reports
from evaluation.statistics.items import REAL, SYNTHETIC, intervals

GOOD = "FINDINGS: Small left effusion. IMPRESSION: Small left effusion."
BAD = {
    "side": "FINDINGS: Small left effusion. IMPRESSION: Small right effusion.",
    "severity": "FINDINGS: Severe pulmonary edema. IMPRESSION: Mild pulmonary edema.",
    "assertion": "FINDINGS: Right pneumothorax. IMPRESSION: No pneumothorax.",
    "addition": "FINDINGS: Cardiomegaly. IMPRESSION: Cardiomegaly. Left effusion.",
}
MADE = [
    GOOD,
    GOOD,
    BAD["side"],
    BAD["severity"],
    BAD["assertion"],
    BAD["addition"],
    BAD["side"],
    "Left effusion.",
]
TRUE = [GOOD] * 6 + [BAD["addition"], BAD["side"].replace("right", "right and mild")]
EXPECTED = {"any": 5 / 8, "side": 2 / 8, "severity": 1 / 8, "assertion": 1 / 8, "addition": 1 / 8}
EXPECTED_REAL = {"any": 2 / 8, "side": 1 / 8, "severity": 0.0, "assertion": 0.0, "addition": 1 / 8}


def check(section, items, metrics):
    for kind, value in EXPECTED.items():
        assert section["contradictions"][kind] == pytest.approx(value), kind
        assert section["contradictions_real"][kind] == pytest.approx(EXPECTED_REAL[kind]), kind
    found = intervals(metrics, items, 300, 0)
    for end, expected in (("", EXPECTED), ("_real", EXPECTED_REAL)):
        low, high = found[f"contradictions{end}.any"]
        assert low < expected["any"] < high
    assert found["contradictions_real.severity"] == [0.0, 0.0]


def test_pairs():
    labels = [label_reports(reports) for reports in (MADE, TRUE)]
    metrics = [metric for metric in metrics_of("pairs") if metric.key.startswith("contradictions")]
    triples = [(one, one, np.nan_to_num(one)) for one in labels]
    section, items = evaluate_pairs(*triples, metrics=metrics, reports=(MADE, TRUE))
    items["patient"] = np.array([f"{i}" for i in range(16)])
    items["stratum"] = np.repeat([SYNTHETIC, REAL], 8)
    check(section, items, metrics)


def test_reports():
    metrics = [metric for metric in metrics_of("reports") if metric.key.startswith("contradictions")]
    section, items = evaluate_reports(TRUE, MADE, label_reports, metrics=metrics)
    items["patient"], items["stratum"] = np.array([f"{i}" for i in range(8)]), np.full(8, REAL)
    check(section, items, metrics)


def test_labels_alone_say_nothing_of_it():
    labels = label_reports(MADE)
    section, _ = evaluate_pairs((labels, labels, labels), (labels, labels, labels))
    assert section["contradictions"]["any"] is None
