"""Contradictions between a report's findings section and its impression."""

import numpy as np
import pytest

from data_module.demo.report import write_report
from data_module.demo.study import get_study
from data_module.labeler.consistency import CONTRADICTIONS, find_contradictions


@pytest.mark.parametrize(
    ("findings", "impression", "kinds"),
    [
        ("Small left effusion.", "Small left effusion.", set()),
        ("Small left effusion.", "Small right effusion.", {"side"}),
        ("Small left effusion.", "Bilateral effusions.", {"side"}),
        ("Severe pulmonary edema.", "Mild pulmonary edema.", {"severity"}),
        ("No pneumothorax. Cardiomegaly.", "Cardiomegaly. Right pneumothorax.", {"assertion"}),
        ("Right pneumothorax.", "No pneumothorax.", {"assertion"}),
        ("Cardiomegaly.", "Cardiomegaly. Left effusion.", {"addition"}),
        # An impression concludes: pneumonia from an opacity adds nothing.
        ("Opacity in the right lower lobe.", "Right lower lobe pneumonia.", set()),
        ("Lungs are clear.", "Moderate right effusion.", {"addition"}),
        # What is left open contradicts nothing, and neither does what is possible.
        ("Left effusion.", "Moderate effusion.", set()),
        ("Possible left effusion.", "Left effusion.", set()),
        ("Heart and lungs are normal.", "Normal chest.", set()),
    ],
)
def test_each_kind(findings, impression, kinds):
    (row,) = find_contradictions([f"FINDINGS: {findings} IMPRESSION: {impression}"])
    assert {name for name, found in zip(CONTRADICTIONS, row, strict=True) if found} == kinds


def test_one_section_cannot_contradict_itself():
    reports = ["FINDINGS: Left effusion. No effusion.", "IMPRESSION: Left effusion.", "Left effusion.", ""]
    assert not find_contradictions(reports).any()


def test_the_demos_reports_are_consistent_and_mixed_ones_are_not():
    reports = [write_report(get_study(0, index)).text for index in range(200)]
    assert not find_contradictions(reports).any()
    findings = [report.partition("IMPRESSION:")[0] for report in reports]
    impressions = [report.partition("IMPRESSION:")[2] for report in reports]
    mixed = [f"{a}IMPRESSION:{b}" for a, b in zip(findings, np.roll(impressions, 1), strict=True)]
    # Not all: a normal findings section and an impression of no disease fit each other.
    assert find_contradictions(mixed).any(axis=1).mean() > 0.4
