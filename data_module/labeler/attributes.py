"""Side and severity of each finding as a demo report words them, to check generated reports against."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from data_module.findings import DEGREES, FINDINGS, SIZES
from data_module.sentences import split_sentences

# What names a finding in a demo sentence; the first that fits counts, so that "opacities ... are consistent
# with pneumonia" is pneumonia and no opacity.
_WORDS = {
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
_NAMES = {name: re.compile(words, re.IGNORECASE) for name, words in _WORDS.items()}
_NEGATED = re.compile(r"\b(?:no|not|negative|without evidence|normal|unremarkable)\b", re.IGNORECASE)
_HEDGED = re.compile(
    r"\b(?:possible|possibly|probable|probably|questionable|suspected|cannot be excluded|may|could)\b",
    re.IGNORECASE,
)
_BOTH = re.compile(r"\b(?:bilateral|both|bibasilar|right and left|lung bases)\b", re.IGNORECASE)
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
# Other words for a grade.
_GRADES = {word: word for word in (*SIZES, *DEGREES)} | {
    **dict.fromkeys(("tiny", "trace"), "small"),
    **dict.fromkeys(("big", "massive", "sizable"), "large"),
    **dict.fromkeys(("slight", "minimal"), "mild"),
    **dict.fromkeys(("marked", "gross"), "severe"),
}
_SEVERITY = re.compile(rf"\b({'|'.join(_GRADES)})(?:ly)?\b", re.IGNORECASE)
# Where one finding of a list may end and the next begin; opacities "consistent with" another are the other.
_BETWEEN = re.compile(r"[,;]|\band\b|\b(?<!consistent )(?<!compatible )(?<!keeping )with\b", re.IGNORECASE)
_SAME = re.compile(
    r"\b(?:consistent|compatible|in keeping|due to|represents?|reflects?|indicates?|those of)\b",
    re.IGNORECASE,
)

NUM_ATTRIBUTES = 5 * len(FINDINGS)

Attributes = dict[str, dict[str, str]]


def read_attributes(report: str) -> Attributes:
    """Finding -> {"side": left, right or bilateral; "severity": mild, large, ...}, as far as they are said.

    Of sentences that call one finding present. Where two of them differ the first counts, the findings
    section coming before the impression.
    """
    found: Attributes = {}
    for sentence in split_sentences(re.sub(r"\b(?:FINDINGS|IMPRESSION):", " ", report)):
        for finding, side, severity in _read_sentence(sentence):
            said = found.setdefault(finding, {})
            if side:
                said.setdefault("side", side)
            if severity:
                said.setdefault("severity", severity)
    return found


@lru_cache(maxsize=1 << 16)  # reports repeat sentences, and training reads each report several times
def _read_sentence(sentence: str) -> tuple[tuple[str, str, str], ...]:
    """Each finding that it calls present, in order, with side and severity, "" where they are not said."""
    found = []
    for part in _split_list(sentence):
        if _NEGATED.search(part) or _HEDGED.search(part):
            break  # "no A, B or C"
        if finding := _find_name(part):
            side, severity = _SIDE.search(part), _SEVERITY.search(part)
            where = side[1].lower() if side else ""
            grade = _GRADES[severity[1].lower()] if severity else ""
            found.append((finding, "bilateral" if _BOTH.search(part) else where, grade))
    return tuple(found)


def _find_name(text: str) -> str | None:
    return next((name for name, words in _NAMES.items() if words.search(text)), None)


def _split_list(sentence: str) -> Iterator[str]:
    """The sentence in parts that name one finding each; words that name none stay with the finding before."""
    start = 0
    if _find_name(sentence) is None:
        return
    ends = [match.start() for match in _BETWEEN.finditer(sentence)]
    for end, following in itertools.pairwise([*ends, len(sentence)]):
        before, after = _find_name(sentence[start:end]), _find_name(sentence[end:following])
        same = before == "Lung Opacity" and _SAME.search(sentence[end:following])
        if before and after and before != after and not same:
            yield sentence[start:end]
            start = end
    yield sentence[start:]


def attribute_labels(reports: Sequence[str]) -> np.ndarray:
    """(N, NUM_ATTRIBUTES) float32: for each of the findings in turn left, right, and the three grades.

    1 or 0 where the report calls the finding present and tells its side, or its grade; -1 (left out of a
    loss) elsewhere.
    """
    labels = np.full((len(reports), len(FINDINGS), 5), -1.0, dtype=np.float32)
    for row, report in zip(labels, reports, strict=True):
        for finding, said in read_attributes(report).items():
            values = row[FINDINGS.index(finding)]
            if side := said.get("side"):
                values[:2] = side in ("left", "bilateral"), side in ("right", "bilateral")
            if severity := said.get("severity"):
                # "moderate" stands in both scales, at the same place.
                scale = SIZES if severity in SIZES else DEGREES
                values[2:] = np.arange(3) == scale.index(severity)
    return labels.reshape(len(reports), NUM_ATTRIBUTES)


def attribute_odds(values: Sequence[float]) -> dict[str, float]:
    """What a network holds of a finding's side and grade: word -> log-odds, up to a constant for each kind.

    Args:
        values: log-odds of left, right and the three grades, as `attribute_labels` orders them.
    """
    left, right, *grades = values
    odds = {"left": left, "right": right, "bilateral": left + right}  # each against neither side
    for scale in (DEGREES, SIZES):
        odds |= dict(zip(scale, grades, strict=True))
    return odds


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
