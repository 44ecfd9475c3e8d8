"""Reports that are put together from the sentences of drafts."""

import numpy as np
import pytest

from data_module.demo.report import write_report
from data_module.demo.study import get_study
from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler import label_reports
from data_module.labeler.attributes import attribute_labels, read_attributes
from data_module.labeler.consistency import find_contradictions
from data_module.sections import split_sections
from pipelines.assembly import assemble_report

REPORTS = [write_report(get_study(11, index)).text for index in range(150)]


def odds_of(*names):
    return [2.0 if name in names else -2.0 for name in FINDINGS]


def own_odds(report):
    return np.where(label_reports([report])[0] == POSITIVE, 2.0, -2.0).tolist()


def test_a_draft_that_says_what_is_seen_stays_as_it_is():
    assert [assemble_report([report], own_odds(report)) for report in REPORTS] == REPORTS


def test_contradictions_go():
    """By the votes of the drafts: two say left and large; the impression follows."""
    drafts = [
        "FINDINGS: Small right pleural effusion. IMPRESSION: Large left pleural effusion.",
        "FINDINGS: Large left effusion. The hila are normal. IMPRESSION: Large left pleural effusion.",
    ]
    made = assemble_report(drafts, odds_of("Pleural Effusion"))
    assert made == "FINDINGS: Large left effusion. IMPRESSION: Large left pleural effusion."
    assert assemble_report(drafts[1:], odds_of("Pleural Effusion")) == drafts[1]


@pytest.mark.parametrize(
    ("seen", "draft", "made"),
    [
        # What is not seen goes, what is seen is not denied or doubted.
        (
            ("Edema",),
            "FINDINGS: Severe pulmonary edema. Mild cardiomegaly. IMPRESSION: Severe pulmonary edema. Mild "
            "cardiomegaly.",
            "FINDINGS: Severe pulmonary edema. IMPRESSION: Severe pulmonary edema.",
        ),
        (
            ("Edema",),
            "FINDINGS: Severe pulmonary edema. No edema. IMPRESSION: Possible edema.",
            "FINDINGS: Severe pulmonary edema. IMPRESSION: Severe pulmonary edema.",
        ),
        # A film with a finding is not concluded to be normal; its lungs may still be clear.
        (
            ("Cardiomegaly",),
            "FINDINGS: The lungs are clear. Mild cardiomegaly. IMPRESSION: No acute disease.",
            "FINDINGS: The lungs are clear. Mild cardiomegaly. IMPRESSION: Mild cardiomegaly.",
        ),
        # What no draft says cannot be said.
        (("Fracture",), "FINDINGS: The hila are normal.", "FINDINGS: The hila are normal."),
        ((), "IMPRESSION: Normal chest.", "IMPRESSION: Normal chest."),
        ((), "", ""),
    ],
)
def test_known_answers(seen, draft, made):
    assert assemble_report([draft], odds_of(*seen)) == made


def test_drafts_of_other_films():
    """The hardest case: drafts that have nothing to do with each other. No contradiction is left, nothing is
    asserted that is not seen, and whatever is seen and some draft's findings can tell is told."""
    rng = np.random.default_rng(0)
    made, asked, sayable = [], [], []
    for report in REPORTS:
        drafts = [REPORTS[i] for i in rng.integers(len(REPORTS), size=5)]
        made.append(assemble_report(drafts, own_odds(report)))
        asked.append(label_reports([report])[0] == POSITIVE)
        told = label_reports([split_sections(draft).findings for draft in drafts]) == POSITIVE
        sayable.append(told.any(axis=0) & asked[-1])
    assert not find_contradictions(made).any()
    told = (label_reports(made) == POSITIVE)[:, 1:]  # No Finding follows from the others
    asked, sayable = np.array(asked)[:, 1:], np.array(sayable)[:, 1:]
    assert not (told & ~asked).any()
    assert (told & sayable).sum() / sayable.sum() > 0.97
    assert sayable.sum() > 50


def told_odds(report):
    """Log-odds of a prior that sees what a report tells, sides and grades included."""
    told = attribute_labels([report])[0]
    return own_odds(report) + np.where(told < 0, 0.0, 4.0 * told - 2.0).tolist()


def test_a_prior_that_sees_sides_and_grades_decides_between_those_of_the_drafts():
    drafts = [
        "FINDINGS: Small right pleural effusion. IMPRESSION: Small right pleural effusion.",
        "FINDINGS: Small right pleural effusion.",
        "FINDINGS: Moderate bilateral pleural effusions.",
        "FINDINGS: Large left pleural effusion. IMPRESSION: Large left pleural effusion.",
    ]
    # Most say small and right.
    assert "Small right" in assemble_report(drafts, odds_of("Pleural Effusion"))
    for told in drafts[1:]:
        made = assemble_report(drafts, told_odds(told))
        assert read_attributes(made) == read_attributes(told)
    # A side that no draft tells cannot be told.
    made = assemble_report(drafts[:2], told_odds(drafts[3]))
    assert read_attributes(made)["Pleural Effusion"] == {"side": "right", "severity": "small"}


def test_no_wording_is_changed_where_the_prior_sees_what_the_draft_tells():
    assert [assemble_report([report], told_odds(report)) for report in REPORTS] == REPORTS
