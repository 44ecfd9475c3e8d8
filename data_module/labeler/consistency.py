"""Does a report contradict itself? Its impression against its findings section."""

import re
from collections.abc import Sequence

import numpy as np

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE
from data_module.labeler.aggregation import label_reports
from data_module.labeler.assertion import read_sentence
from data_module.labeler.attributes import read_attributes
from data_module.labeler.text import split_report
from data_module.sections import Sections, split_sections

# How an impression can contradict the findings section.
CONTRADICTIONS = {
    "addition": "names a finding that the findings section leaves out",
    "assertion": "denies what the findings section calls present, or the other way round",
    "side": "gives another side to the same finding",
    "severity": "gives another grade to the same finding",
}
# What an impression may conclude from what the findings section describes (CheXpert's hierarchy).
_CONCLUDED = {
    **dict.fromkeys(("Pneumonia", "Consolidation", "Atelectasis", "Edema", "Lung Lesion"), "Lung Opacity"),
    "Cardiomegaly": "Enlarged Cardiomediastinum",
}
_SIDE = re.compile(r"\b(?:left|right)\b")


def find_contradictions(reports: Sequence[str]) -> np.ndarray:
    """(N, 4) bool, columns as CONTRADICTIONS; False in all where a report lacks one of the two sections.

    A section that leaves a side or grade open contradicts none; "bilateral" and one side differ.
    """
    sections = [split_sections(report) for report in reports]
    described = label_reports([section.findings for section in sections])
    concluded = label_reports([section.impression for section in sections])
    found = np.zeros((len(reports), len(CONTRADICTIONS)), bool)
    for row, section in enumerate(sections):
        if not (section.findings and section.impression):
            continue
        before = dict(zip(FINDINGS, described[row].tolist(), strict=True))
        after = dict(zip(FINDINGS, concluded[row].tolist(), strict=True))
        sides_and_grades = (_differs(section, attribute) for attribute in ("side", "severity"))
        found[row] = (_adds(before, after), _denies(before, after), *sides_and_grades)
    return found


def _adds(before: dict[str, float], after: dict[str, float]) -> bool:
    return any(
        code == POSITIVE
        and name != "No Finding"
        and np.isnan(before[name])
        and before.get(_CONCLUDED.get(name, ""), np.nan) != POSITIVE
        for name, code in after.items()
    )


def _denies(before: dict[str, float], after: dict[str, float]) -> bool:
    return any(
        {before[name], after[name]} == {POSITIVE, NEGATIVE} for name in FINDINGS if name != "No Finding"
    )


def _differs(sections: Sections, attribute: str) -> bool:
    before, after = (read_attributes(section) for section in sections)
    said = [
        (before[name].get(attribute), after[name].get(attribute)) for name in before.keys() & after.keys()
    ]
    return any(None not in pair and pair[0] != pair[1] for pair in said)


def find_self_denials(text: str) -> list[str]:
    """Findings that one text, such as a prompt, both asserts and denies, unless on different sides."""
    said: dict[int, set[tuple[float, str]]] = {}
    for sentence in split_report(text):
        side = "".join(sorted(set(_SIDE.findall(sentence.lower()))))
        for finding, code in read_sentence(sentence).mentions:
            said.setdefault(finding, set()).add((code, side))
    return [
        name
        for place, name in enumerate(FINDINGS)
        if any(
            code == POSITIVE and denied == NEGATIVE and (not side or not other or side == other)
            for code, side in said.get(place, ())
            for denied, other in said[place]
        )
    ]
