"""Side and severity of each finding as a demo report words them, to check generated reports against."""

import re
from collections.abc import Iterable

from data_module.demo.study import DEGREES, SIZES
from data_module.sentences import split_sentences

# What names a finding in a demo sentence; the first that fits counts, so that "opacities ... are consistent
# with pneumonia" is pneumonia and no opacity.
_NAMES = {
    "Fracture": r"fractur",
    "Pneumothorax": r"pneumothorax",
    "Pleural Other": r"pleural (?:thickening|plaques?)|thickened pleura|apical cap",
    "Pleural Effusion": r"effusion|fluid",
    "Atelectasis": r"atelectasis",
    "Lung Lesion": r"\bnodule|\bmass\b",
    "Consolidation": r"consolidat",
    "Pneumonia": r"pneumonia",
    "Edema": r"edema|congestion",
    "Enlarged Cardiomediastinum": r"mediastin",
    "Cardiomegaly": (
        r"cardiomegaly|(?:heart|cardiac)\b.*\b(?:enlarge|increased)|enlarge\w* (?:of the )?(?:heart|cardiac)"
    ),
    "Lung Opacity": r"opaci",
}
_NEGATED = re.compile(r"\b(?:no|not|negative|without evidence|normal|unremarkable)\b", re.IGNORECASE)
_HEDGED = re.compile(
    r"\b(?:possible|possibly|probable|probably|questionable|suspected|cannot be excluded|may|could)\b",
    re.IGNORECASE,
)
_BOTH = re.compile(r"\b(?:bilateral|both|bibasilar|right and left|lung bases)\b", re.IGNORECASE)
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_SEVERITY = re.compile(rf"\b({'|'.join((*SIZES, *DEGREES))})(?:ly)?\b", re.IGNORECASE)

Attributes = dict[str, dict[str, str]]


def read_attributes(report: str) -> Attributes:
    """Finding -> {"side": left, right or bilateral; "severity": mild, large, ...}, as far as they are said.

    Of sentences that call one finding present. Where two of them differ the first counts, the findings
    section coming before the impression.
    """
    found: Attributes = {}
    for sentence in split_sentences(re.sub(r"\b(?:FINDINGS|IMPRESSION):", " ", report)):
        if _NEGATED.search(sentence) or _HEDGED.search(sentence):
            continue
        finding = next((name for name, words in _NAMES.items() if re.search(words, sentence, re.I)), None)
        if finding is None:
            continue
        said = found.setdefault(finding, {})
        side, severity = _SIDE.search(sentence), _SEVERITY.search(sentence)
        if _BOTH.search(sentence):
            said.setdefault("side", "bilateral")
        elif side:
            said.setdefault("side", side[1].lower())
        if severity:
            said.setdefault("severity", severity[1].lower())
    return found


def count_right(references: Iterable[str], hypotheses: Iterable[str], attribute: str) -> tuple[int, int]:
    """Of the findings that both reports call present and whose `attribute` the reference gives: how many
    hypotheses give the same one, and of how many. One that leaves it out is wrong.

    Args:
        attribute: "side" or "severity".
    """
    right = total = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        truth, guess = read_attributes(reference), read_attributes(hypothesis)
        for finding in truth.keys() & guess.keys():
            if attribute in truth[finding]:
                total += 1
                right += guess[finding].get(attribute) == truth[finding][attribute]
    return right, total
