"""CRIMSON: abnormal findings told rightly less those made up, by what they mean for the patient.

Baharoon et al., arXiv 2603.06183. A language model lists and matches findings; the score is worked out here.
Asked for by --crimson.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.reports.judged import score_answers

MAX_TOKENS = 4096  # of an answer, as published
# What a finding weighs by its clinical significance, and a wrong attribute of it by its severity.
SIGNIFICANCE = {
    "urgent": 1.0,
    "actionable_not_urgent": 0.5,
    "not_actionable_not_urgent": 0.25,
    "benign_expected": 0.0,
}
SEVERITY = {"significant": 0.5, "negligible": 0.0}
# Our own words; the names of the answer are those that the published model answers with.
PROMPT = """Two reports of the same chest X-ray are given: a radiologist's (the reference) and a program's
(the candidate).

Reference:
{reference}

Candidate:
{candidate}

1. List the abnormal findings of each report, one entry for each; what is normal or absent is no finding. Say
of each what it means for the patient (clinical_significance):
- urgent: it must be acted upon at once
- actionable_not_urgent: it calls for treatment, follow-up or another examination, but not at once
- not_actionable_not_urgent: an abnormality that changes nothing of what is done
- benign_expected: expected at the patient's age or after what was done to them, such as a device in place

2. Match the findings of the candidate with those of the reference that they tell of. A finding of the
candidate without a match is false, one of the reference without a match is missing.

3. For each match that tells some attribute of the finding wrongly add an attribute error. error_types are
among location, severity, descriptor, measurement, certainty, unspecific, overinterpretation and temporal;
severity is significant where it could change what is done for the patient, else negligible.

Answer with one JSON object alone, of this form:
{"reference_findings": [{"id": "R1", "finding": "...", "clinical_significance": "urgent"}],
 "predicted_findings": [{"id": "P1", "finding": "...", "clinical_significance": "urgent"}],
 "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}],
 "errors": {
   "false_findings": ["P2"],
   "missing_findings": ["R2"],
   "attribute_errors": [
     {"ref_id": "R1", "pred_id": "P1", "error_types": ["location"], "severity": "significant"}]}}
Lists may be empty.
"""


@dataclass(frozen=True)
class CrimsonAnswer:
    """What an answer says, as weights of findings.

    Attributes:
        reference: weight of each finding of the reference, by id.
        matched: ids of those that the candidate tells of.
        wrong: id -> weights of its wrong attributes added up, for those that have any.
        false: weight of the candidate's findings that the reference does not have, added up.
        counts: false_findings, missing_findings and attribute_errors.
    """

    reference: dict[str, float]
    matched: frozenset[str]
    wrong: dict[str, float]
    false: float
    counts: tuple[int, int, int]

    @property
    def score(self) -> float:
        """In (-1, 1]: 1 all told rightly, 0 no more than a normal report says, below 0 more false than true.

        A matched finding of weight w counts w * w / (w + its wrong attributes).
        """
        told = sum(self._credit(name) for name in self.matched)
        whole = sum(self.reference.values())
        surplus = self.false - told
        if not whole and not self.false:
            return 1.0
        if surplus > 0.0:
            return -surplus / (1.0 + surplus)
        return -surplus / whole

    def _credit(self, name: str) -> float:
        weight = self.reference[name]
        return weight * weight / (weight + self.wrong.get(name, 0.0)) if weight else 0.0


def parse_crimson(answer: str) -> CrimsonAnswer | None:
    """The findings of an answer; None where it is no such JSON, or names findings that it does not list."""
    try:
        content: Any = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
        reference, predicted = (_weigh(content[f"{side}_findings"]) for side in ("reference", "predicted"))
        errors = content["errors"]
        false, missing = (list(map(str, errors[f"{kind}_findings"])) for kind in ("false", "missing"))
        matched = frozenset(str(pair["ref_id"]) for pair in content["matched_findings"])
        wrong: defaultdict[str, float] = defaultdict(float)
        for error in errors["attribute_errors"]:
            wrong[str(error["ref_id"])] += SEVERITY[error["severity"]]
        weight = sum(predicted[name] for name in false)
        known = {*matched, *missing, *wrong} <= set(reference)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    counts = (len(false), len(missing), len(errors["attribute_errors"]))
    return CrimsonAnswer(reference, matched, dict(wrong), weight, counts) if known else None


def _weigh(findings: list[dict[str, Any]]) -> dict[str, float]:
    weights = {str(finding["id"]): SIGNIFICANCE[finding["clinical_significance"]] for finding in findings}
    if len(weights) != len(findings):
        raise ValueError("two findings of one id")
    return weights


def _compute(reports: ReportInputs) -> Figure:
    figure, known = score_answers(reports, "crimson", PROMPT, MAX_TOKENS, parse_crimson)
    if not known:
        return figure
    means = np.mean([answer.counts for answer in known], axis=0)
    names = ("false_findings", "missing_findings", "attribute_errors")
    errors = dict(zip(names, map(float, means), strict=True))
    return replace(figure, more={**figure.more, "crimson_errors": errors})


METRICS = (
    Metric(
        key="crimson",
        title="CRIMSON",
        section="reports",
        direction="higher",
        range=(-1.0, 1.0),
        convention="mean over reports; (told - false) / all of the reference, where findings weigh 1, 0.5, "
        "0.25 or 0 by clinical significance and wrong attributes take from what is told; below 0: "
        "-x / (1 + x) of x = false - told; by the answers of a language model, see "
        "inputs.reports, without the patient's age and indication; answers of another form are "
        "left out and counted (num_crimson_unread); comparable with published figures by the "
        "published model with the authors' own prompt alone (--crimson-prompt), for ours is in "
        "other words; the real report with the headings Findings: and Impression:",
        source="Baharoon et al., arXiv 2603.06183, as the package crimson-score 0.2.0 counts it",
        needs=("texts",),
        compute=_compute,
        flag="crimson",
    ),
)
