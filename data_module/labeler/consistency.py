"""Does a report contradict itself? Its impression against its findings section."""

import re
import sys
from collections.abc import Sequence

import numpy as np

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE
from data_module.labeler.aggregation import label_reports
from data_module.labeler.assertion import Mention, read_sentence
from data_module.labeler.attributes import read_attributes
from data_module.labeler.text import split_report
from data_module.sections import Sections, split_sections
from runtime.wording import shorten

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
_OPACITY = FINDINGS.index("Lung Opacity")
_SIDE = re.compile(r"\b(?:left|right)\b")
# What is denied of a kind or a place alone.
_REST = re.compile(r"\b(?:other|otherwise|additional|further|new|large|focal|elsewhere)\b")


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
    """Findings that one text, such as a prompt, asserts and denies in the same words, not on different sides.

    "Scarring, no infiltrate" and "vascular congestion without edema" are no contradictions, though each
    names one finding of CheXpert's twice; nor are lungs clear beside an opacity: that is said of the rest.
    """
    mentions = [mention for sentence in split_report(text) for mention in read_sentence(sentence).mentions]
    asserted = [mention for mention in mentions if mention.code == POSITIVE]
    denied = [mention for mention in mentions if mention.code == NEGATIVE]
    found = {said.finding for said in asserted if any(_deny(said, other) for other in denied)}
    return [name for place, name in enumerate(FINDINGS) if place in found]


def check_self_denials(text: str, name: str) -> None:
    """Raises ValueError, which begins with `name`, for a text that denies what it asserts."""
    if denied := find_self_denials(text):
        raise ValueError(f"{name}: the text both asserts and denies {', '.join(denied)}: leave one out")


def warn_of_self_denials(texts: Sequence[str], names: Sequence[str]) -> None:
    """Say on standard error which texts deny what they assert; `names` say where each came from."""
    if denying := [name for text, name in zip(texts, names, strict=True) if find_self_denials(text)]:
        print(
            f"warning: {len(denying):,} of {len(texts):,} prompts both assert and deny a finding, and no "
            f"film can show both: {shorten(denying, 3, '; ')}",
            file=sys.stderr,
        )


def _deny(asserted: Mention, denied: Mention) -> bool:
    if asserted.finding != denied.finding:
        return False
    there, here = (set(_SIDE.findall(mention.part)) for mention in (asserted, denied))
    if there and here and there != here:
        return False
    if not (asserted.words and denied.words):  # told by the state of an organ
        return asserted.finding != _OPACITY
    if _REST.search(denied.part):
        return False
    noun, denied_noun = (mention.words.split()[-1].removesuffix("s") for mention in (asserted, denied))
    return noun == denied_noun
