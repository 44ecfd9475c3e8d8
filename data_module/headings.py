"""Headings of radiology reports: where they stand, and what the text below them is.

A heading is read word by word, so that adjectives, plurals, parentheses, slashes, times and blanks make no
other heading of it: RADIOLOGIST'S FINAL IMPRESSION(S), FRONTAL CHEST RADIOGRAPH ___ AT 5:30 A.M.
"""

import difflib
import re
from collections.abc import Set
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["findings", "impression", "title", "addendum", "history", "other", "film", "part", "unknown"]


class Heading(NamedTuple):
    """A heading, report[start:end] with its colon.

    `kind`: findings, impression; "title" (FINAL REPORT); "addendum"; "history": why the film was taken;
    "other": how, by whom, compared to what; "film": its name; "part" of the body; "unknown".
    """

    start: int
    end: int
    kind: Kind


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What makes a heading what it is, in the singular. A weak word says less than the others beside it.
_FINDINGS = _words("finding observation")
_WEAK_FINDINGS = _words("report description result comment narrative discussion read reading")
_IMPRESSION = _words("impression imp conclusion summary opinion assessment interpretation diagnosis")
_HISTORY = _words(
    "indication ind history hx reason condition information detail data question symptom complaint"
)
_OTHER = _words(
    "comparison comp technique tech recommendation notification attestation contrast dose protocol prior"
)
_EVENT = _words("exam examination study view procedure")
_SIGNATURE = _words("by signed dictated transcribed electronically wet")
_OFFICE = _words(
    "date time name number id mrn dob accession physician provider doctor dr md location department ward "
    "status copy cc order ordering referring priority age sex gender hospital facility phone fax page end"
)
_CLINICAL = _words("clinical physical admission admitting working preoperative postoperative")
_FILM = _words(
    "chest thorax radiograph film xray ray cxr portable pa ap lateral lat frontal upright supine erect "
    "semiupright semierect decubitus bedside"
)
_BODY = _words(
    "lung pleura pleural heart cardiac cardiomediastinal cardiomediastinum mediastinal mediastinum hilum "
    "hila hilar bone bony osseous skeleton skeletal tissue abdomen abdominal diaphragm airway trachea aorta "
    "aortic rib spine device line tube hardware vascularity vasculature vessel silhouette space "
    "other catheter"
)
# Words that change nothing beside these.
_MODIFIERS = _words(
    "final preliminary overall diagnostic radiologist radiological radiologic radiographic radiography "
    "radiology imaging provisional pfi attending resident staff additional pertinent significant important "
    "major main key relevant incidental new revised amended corrected current today brief short general "
    "medical patient past surgical type body and or the of for this to with plan from on at in a an two one "
    "three single version left right bilateral upper lower soft support x p m am pm hr hour semi"
)
_KNOWN = frozenset().union(
    *(_FINDINGS, _WEAK_FINDINGS, _IMPRESSION, _HISTORY, _OTHER, _EVENT, _SIGNATURE, _CLINICAL, _FILM, _BODY),
    *(_MODIFIERS, {"addendum"}),
)
_PLURALS = {"studies": "study", "diagnoses": "diagnosis", "copies": "copy", "summaries": "summary"}
_SENTENCE = _words("no is are was were there has have without seen not")  # words that no heading has
_OFTEN_MISSPELLED = (
    "findings",
    "impression",
    "impressions",
    "conclusion",
    "comparison",
    "indication",
    "technique",
)

_MAX_HEADING = 120  # characters
_MAX_WORDS = 12
_BLANK = re.compile(r"_{2,}|\bX{3,}\b|\[\*\*[^\[\]]*\*\*\]")
_BOUNDARY = re.compile(
    r"(?<![AaPp]\.[Mm])(?<!\b[DdMm][Rr])[.;!?\]>]\s+|:\s+"
)  # after which a heading may begin
_END = re.compile(
    r":(?!\d\d)|[-–—](?=\s)|$|\b(?:FINDINGS|IMPRESSION|CONCLUSION)(?=[ \t]+[A-Z][a-z])", re.MULTILINE
)
_CAPITALS = re.compile(r"(?:^|(?<=[\s.]))[A-Z][A-Z0-9 /&(),'’._#-]*$")


def find_headings(report: str) -> list[Heading]:
    """All headings of a report, in order. The time is linear in its length."""
    found: list[Heading] = []
    for match in _END.finditer(report):
        heading = _read_heading(report, match, found[-1].end if found else 0)
        if heading:
            found.append(heading)
    return found


def _read_heading(report: str, match: re.Match[str], after: int) -> Heading | None:
    """The heading that ends with this colon, dash or line, and begins not before `after`."""
    sign, position = match.group(), match.start()
    if len(sign) > 1:  # FINDINGS without a colon
        return Heading(position, match.end(), "findings" if sign == "FINDINGS" else "impression")
    nearest = max(after, position - _MAX_HEADING)
    line = report.rfind("\n", nearest, position) + 1
    start = line or nearest
    text = report[start:position]
    at_start = at_line = bool(line) or start == after
    for boundary in _BOUNDARY.finditer(text):
        start, at_start, at_line = (line or nearest) + boundary.end(), True, False
    text = report[start:position]
    begin = start + len(text) - len(text.lstrip(" \t*#_>"))
    phrase = report[begin:position].rstrip(" \t*_-–—")
    if not phrase:
        return None
    kind = _classify(phrase, sign, at_line) if at_start else None
    if kind:
        return Heading(begin, match.end(), kind)
    return _find_in_capitals(phrase, begin, match.end()) if sign == ":" else None


def _classify(phrase: str, sign: str, at_line: bool) -> Kind | None:
    kind = known_kind(phrase)
    capitals = _in_capitals(phrase)
    if not sign:  # a line of its own
        named = kind not in (None, "film", "part") and phrase[:1].isupper()
        return kind if at_line and (named or capitals) else None
    if kind in ("film", "part"):
        return kind if sign == ":" and phrase[:1].isupper() else None
    if kind or sign != ":":
        return kind
    kind = _misspelled_kind(phrase) if at_line and phrase[:1].isupper() else None
    if not kind and capitals and not set(_read_words(phrase)) & _SENTENCE:
        return _kind_of(set(_read_words(phrase))) or "unknown"
    return kind


def _find_in_capitals(phrase: str, begin: int, end: int) -> Heading | None:
    """A heading in capitals behind words that belong to the text before it: its line break got lost."""
    capitals = _CAPITALS.search(phrase)
    if capitals is None:
        return None
    for word in list(re.finditer(r"\S+", phrase[capitals.start() :]))[-_MAX_WORDS:]:
        place = capitals.start() + word.start()
        kind = known_kind(phrase[place:])
        if kind and kind not in ("film", "part"):
            return Heading(begin + place, end, kind)
    return None


def _in_capitals(phrase: str) -> bool:
    letters = [letter for letter in phrase if letter.isalpha()]
    return len(letters) > 2 and sum(letter.isupper() for letter in letters) > 0.8 * len(letters)


def _read_words(phrase: str) -> list[str]:
    """The words of a phrase in small letters and, where they are known, in the singular."""
    text = _BLANK.sub(" ", phrase).lower().replace("’", "'")
    text = re.sub(r"\(e?s\)", "s", text).replace("'s", "").replace("x-ray", "xray")
    return [_singular(word) for word in re.findall(r"[^\W\d_]+", text)]


def _singular(word: str) -> str:
    if word in _KNOWN or word in _OFFICE:
        return word
    short = _PLURALS.get(word, word.removesuffix("s"))
    return short if short in _KNOWN or short in _OFFICE else word


@lru_cache(maxsize=4096)
def known_kind(phrase: str) -> Kind | None:
    """The kind of a heading whose words are all known; None for anything else."""
    words = _read_words(phrase)
    if not 0 < len(words) <= _MAX_WORDS or not _KNOWN.issuperset(words):
        return None
    return _kind_of(set(words))


def _misspelled_kind(phrase: str) -> Kind | None:
    words = _read_words(phrase)
    wrong = [word for word in words if word not in _KNOWN and len(word) > 5]
    if len(words) > 3 or len(wrong) != 1:
        return None
    close = difflib.get_close_matches(wrong[0], _OFTEN_MISSPELLED, n=1, cutoff=0.82)
    if not close or close[0][0] != wrong[0][0]:
        return None
    return known_kind(phrase.lower().replace(wrong[0], close[0]))


def _kind_of(words: Set[str]) -> Kind | None:
    """The kind of a heading by the word that says most."""
    if "addendum" in words:
        return "addendum"
    if words & _SIGNATURE:
        return "other"
    firm = words & (_FINDINGS | _IMPRESSION - {"diagnosis", "assessment", "summary"})
    if words & _CLINICAL and not firm - _FINDINGS and not (firm and words & _HISTORY):
        return "history" if words - _CLINICAL - _MODIFIERS else None
    if not firm and words & _HISTORY:
        return "history"
    if words & _FINDINGS and "provisional" not in words:
        return "findings"
    if words & _IMPRESSION:
        return "impression"
    if words & {"read", "reading"} or (words & _WEAK_FINDINGS and not words & (_OTHER | _OFFICE)):
        if words & _EVENT and words & {"description", "comment"}:
            return "other"
        rest = words - {"report"}
        return "title" if rest and "report" in words and rest <= _MODIFIERS | _FILM else "findings"
    if words & (_OTHER | _OFFICE):
        return "other"
    if words & _FILM:
        return "film"
    if words & _EVENT:
        return "other"
    return "part" if words & _BODY else None
