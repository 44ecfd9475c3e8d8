"""GREEN: findings that match, of these and the clinically significant errors, by a language model.

Ostmeier et al., EMNLP Findings 2024. Asked for by --green.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.reports.judged import score_answers

MAX_TOKENS = 2048  # of an answer, as published
ERRORS = {  # letter of the answer -> what results.json calls it
    "a": "false_finding",
    "b": "missing_finding",
    "c": "location",
    "d": "severity",
    "e": "comparison_added",
    "f": "comparison_omitted",
}
# Our own words; the headings and letters are those that the published model answers with.
PROMPT = """You compare two reports of the same chest X-ray. A radiologist wrote the reference; a program
wrote the candidate. Judge what they say of the patient, not how they say it.

Reference:
{reference}

Candidate:
{candidate}

List every error of the candidate under the letter of its kind:
(a) it reports a finding that the reference does not have
(b) it leaves out a finding that the reference has
(c) it puts a finding in the wrong place
(d) it misjudges how severe a finding is
(e) it compares with an earlier film where the reference does not
(f) it leaves out a change since an earlier film that the reference tells of

An error is clinically significant if it could change what is done for the patient, else it is insignificant.
A matched finding is one that both reports tell alike.

Answer in exactly this form. After each colon stands the number of errors, a full stop, then the errors,
separated by semicolons. Leave no letter out; where there is no error write 0.

[Explanation]:
one or two sentences

[Clinically Significant Errors]:
(a) False report of a finding: 0.
(b) Missing a finding: 0.
(c) Wrong location: 0.
(d) Wrong severity: 0.
(e) Comparison that is not in the reference: 0.
(f) Comparison left out: 0.

[Clinically Insignificant Errors]:
the same six lines

[Matched Findings]:
the number of matched findings, a full stop, then the findings, separated by semicolons
"""
_HEADING = r"\[\s*{}\s*\]\s*:?"
_NEXT = r"(.*?)(?=\n\s*\[[A-Z][A-Za-z ]*\]|\Z)"
_NOTHING = re.compile(r"\W*(?:no\b|none\b|n/?a\b)", re.IGNORECASE)
_ENTRY = re.compile(r"^\W*?\(?([a-f1-6])\)(.*)$", re.MULTILINE)
_NUMBER = r"(\d+)\s*(?:\.(?!\d)|$)"


@dataclass(frozen=True)
class GreenAnswer:
    """Numbers of an answer: of matched findings, and of significant errors by letter, (a) to (f)."""

    matched: int
    errors: tuple[int, ...]

    @property
    def score(self) -> float:
        """Matched findings, of these and the errors; 0 where nothing matches, as published."""
        return self.matched / (self.matched + sum(self.errors)) if self.matched else 0.0


def parse_green(answer: str) -> GreenAnswer | None:
    """The numbers of an answer; None where it does not say them. A letter left out counts no error."""
    significant = _section(answer, "Clinically Significant Errors")
    matched = _section(answer, "Matched Findings")
    if significant is None or matched is None:
        return None
    errors = _count_errors(significant)
    found = re.match(_NUMBER, matched, re.MULTILINE)
    if errors is None or not (found or _NOTHING.match(matched)):
        return None
    return GreenAnswer(int(found[1]) if found else 0, errors)


def _section(answer: str, heading: str) -> str | None:
    found = re.search(_HEADING.format(heading) + _NEXT, answer, re.DOTALL | re.IGNORECASE)
    return found[1].strip() if found else None


def _count_errors(section: str) -> tuple[int, ...] | None:
    entries = _ENTRY.findall(section)
    if not entries:
        return (0,) * len(ERRORS) if _NOTHING.match(section) else None
    counts: dict[str, int] = {}
    for letter, text in entries:
        letter = "abcdef"[int(letter) - 1] if letter.isdigit() else letter
        said = text.split(":", 1)[1].strip() if ":" in text else ""
        found = re.match(_NUMBER, said) or re.search(rf":\s*{_NUMBER}", text)
        if letter in counts or not (found or _NOTHING.match(said)):
            return None
        counts[letter] = int(found[1]) if found else 0
    return tuple(counts.get(letter, 0) for letter in ERRORS)


def _compute(reports: ReportInputs) -> Figure:
    figure, known = score_answers(reports, "green", PROMPT, MAX_TOKENS, parse_green)
    if not known:
        return figure
    means = np.mean([answer.errors for answer in known], axis=0)
    more = {
        "green_matched": float(np.mean([answer.matched for answer in known])),
        "green_errors": dict(zip(ERRORS.values(), map(float, means), strict=True)),
    }
    return replace(figure, more={**figure.more, **more})


METRICS = (
    Metric(
        key="green",
        title="GREEN",
        section="reports",
        direction="higher",
        convention="mean over reports of matched findings / (matched findings + clinically significant "
        "errors), 0 where nothing matches, by the answers of a language model, see "
        "inputs.reports; answers that do not say these numbers are left out and counted "
        "(num_green_unread); comparable with published figures by the published model with the "
        "authors' own prompt alone (--green-prompt): ours is in other words; the real report with "
        "the headings Findings: and Impression:",
        source="Ostmeier et al., EMNLP Findings 2024",
        needs=("texts",),
        compute=_compute,
        flag="green",
    ),
)
