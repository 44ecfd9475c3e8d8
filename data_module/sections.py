"""Sections of a report: findings and impression out of free text, prepared for training, and joined again."""

import difflib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

from data_module.prior_studies import remove_prior_references
from data_module.sentences import split_sentences

# Headings of the two sections and of everything else that stands in reports, in their usual spellings.
_FINDINGS = r"findings?|report|description|observations?|findings?\s*(?:/|and|&)\s*impressions?"
_IMPRESSION = (
    r"(?:provisional\s+findings?\s+)?impressions?(?:\s*\(pfi\))?|conclusions?|summary|opinion|assessment"
    r"|interpretation|(?:final\s+)?diagnosis|impressions?\s*(?:/|and|&)\s*recommendations?"
)
_TITLE = r"final\s+report"
_OTHER = (
    r"wet\s+read(?:\s+version\s+#?\d+)?|(?:final\s+)?addendum|indications?"
    r"|clinical\s+(?:history|information|indications?|details|data)|medical\s+condition"
    r"|(?:patient\s+|medical\s+)?history|(?:reason|indication)\s+for\s+(?:the\s+|this\s+)?(?:exam(?:ination)?|study)"
    r"|comparisons?(?:\s+to)?|comparison\s+(?:exam(?:ination)?s?|films?|stud(?:y|ies))|techniques?"
    r"|(?:type\s+of\s+)?exam(?:ination)?s?|study|procedure|views?"
    r"|recommendations?|notifications?|attestation|signed|electronically\s+signed\s+by"
)
_KINDS = {"findings": _FINDINGS, "impression": _IMPRESSION, "title": _TITLE, "other": _OTHER}
_KNOWN = "|".join(f"(?P<{kind}>{names})" for kind, names in _KINDS.items())
# A known heading at the start of a line or after a sentence in any case, or anywhere in capitals; any other
# line that starts with capitals and a colon ("CHEST, TWO VIEWS:"); one word, which may be a misspelling.
_HEADING = re.compile(
    rf"(?:^[ \t]*|(?<=[.:;!?\]])\s+|(?<=\s)(?=[A-Z][A-Z /&]{{3,40}}:))(?i:{_KNOWN})[ \t]*(?::|-(?=\s)|(?=\n))"
    r"|^[ \t]*(?P<unknown>[A-Z][A-Z0-9 ,/&()'-]{2,60}):"
    r"|^[ \t]*(?P<word>[A-Z][a-z]{5,12}):",
    re.MULTILINE,
)
# A heading that names the film stands before a description without a heading of its own.
_FILM_WORDS = re.compile(r"\b(?:CHEST|RADIOGRAPHS?|VIEWS?|FILMS?|X-?RAYS?|PORTABLE|CXR|PA|AP|LATERAL)\b")
# A heading that names a part of the body belongs to the section in which it stands.
_BODY_WORDS = re.compile(
    r"\b(?:LUNGS?|PLEURAL?|HEART|CARDIAC|CARDIOMEDIASTIN\w+|MEDIASTIN\w+|HIL[AUI]R?|BON(?:ES?|Y)|OSSEOUS"
    r"|SKELET\w+|SOFT TISSUES?|ABDOMEN|DIAPHRAGM|AIRWAYS?|TRACHEA|AORTA|RIBS?|SPINE|(?:SUPPORT )?DEVICES?"
    r"|LINES?|TUBES?|HARDWARE|VASCULARITY|VESSELS?|OTHER)\b"
)
_BLANK = r"(?:_{2,}|X{3,}|\[\*\*[^\]]*\*\*\]|\[(?:redacted|removed)\])"
_BLANK_WORD = re.compile(rf"[\w-]*{_BLANK}[\w-]*", re.IGNORECASE)
# What introduces a blank says nothing without it.
_BLANK_PHRASE = re.compile(
    rf"(?:\b(?:from|on|dated?|at|of|by|with|since|and|to|Drs?\.?|Mrs?\.?|Ms\.?)[ ]+)*{_BLANK_WORD.pattern}",
    re.IGNORECASE,
)


class Sections(NamedTuple):
    """The two sections that training uses; whitespace is single spaces; "" where one is missing."""

    findings: str
    impression: str


@dataclass(frozen=True)
class TextPreparation:
    """What is done to a report's text before it is stored."""

    blanks: Literal["keep", "remove", "drop-sentence"] = "keep"
    """De-identification blanks (___, XXXX, [**...**]): kept, removed with what introduces them ("on ___"),
    or their whole sentence dropped."""
    remove_priors: bool = False
    """Remove references to earlier studies ("compared to prior", "unchanged", "interval"), which no single
    film can show."""

    @property
    def nothing_left(self) -> str:
        """Why a report is skipped of which both sections are empty."""
        after = "" if self == TextPreparation() else " after --blanks and --remove-priors"
        return f"the report has neither findings nor impression{after}"


class PreparedReport(NamedTuple):
    """Sections that are ready to be stored, and what was done: the counts of many reports add up."""

    sections: Sections
    counts: Counter[str]


def prepare_report(report: str, preparation: TextPreparation | None = None) -> PreparedReport:
    """A free report -> its sections, prepared, and counts for provenance.json.

    The counts: those of `prepare_sections`, without_heading, with_addendum.
    """
    sections, counts = prepare_sections(split_sections(report), preparation)
    counts["without_heading"] += _HEADING.search(report) is None
    counts["with_addendum"] += re.search(r"^[ \t]*(?:final\s+)?addendum\b", report, re.I | re.M) is not None
    return PreparedReport(sections, counts)


def prepare_sections(sections: Sections, preparation: TextPreparation | None = None) -> PreparedReport:
    """Sections that came apart already, prepared.

    The counts: reports, without_findings, without_impression, blanks, sentences_dropped_for_blanks,
    prior_phrases_removed, prior_sentences_dropped.
    """
    preparation = preparation or TextPreparation()
    counts = Counter(reports=1)
    texts = []
    for text in sections:
        counts["blanks"] += len(_BLANK_WORD.findall(text))
        if preparation.remove_priors:
            text, phrases, sentences = remove_prior_references(text)
            counts["prior_phrases_removed"] += phrases
            counts["prior_sentences_dropped"] += sentences
        if preparation.blanks == "remove":
            text = remove_blanks(text)
        elif preparation.blanks == "drop-sentence":
            kept = [part for part in split_sentences(text) if not _BLANK_WORD.search(part)]
            counts["sentences_dropped_for_blanks"] += len(split_sentences(text)) - len(kept)
            text = " ".join(kept)
        texts.append(text)
    prepared = Sections(*texts)
    counts["without_findings"] += not prepared.findings
    counts["without_impression"] += not prepared.impression
    return PreparedReport(prepared, counts)


def remove_blanks(text: str) -> str:
    """`text` without its de-identification blanks and the prepositions and titles before them."""
    text = _BLANK_PHRASE.sub(" ", text)
    text = re.sub(r"\s+([.,;:)])", r"\1", text)
    text = re.sub(r"([,;:])(?=[.,;:])|(?<![^.\s])[.,;:]", "", text)
    return _join_words(text)


def split_sections(report: str) -> Sections:
    """Findings and impression of a free report.

    Without a findings section, what reads as a description counts as findings: text before the first
    heading, under a heading that names the film ("PORTABLE CHEST:"), or in a paragraph of its own after
    another section. A section that comes twice (an addendum) is joined; an addendum's own text and a wet
    read are left out. "FINDINGS AND IMPRESSION" counts as findings.
    """
    parts: dict[str, list[str]] = {"findings": [], "impression": []}
    matches = [match for match in _HEADING.finditer(report) if _kind(match) != "none"]
    preamble = report[: matches[0].start()] if matches else report
    described = [text for text in _paragraphs(preamble) if _is_prose(text)]
    ends = [*(match.start() for match in matches[1:]), len(report)]
    section = "other"
    for match, end in zip(matches, ends, strict=False):
        text, kind = report[match.end() : end], _kind(match)
        if kind == "part":  # its name stays: "LUNGS: Clear." says more than "Clear."
            kind, text = section, report[match.start() : end]
        elif kind in parts:
            section = kind
        if kind in parts:
            parts[kind].append(text)
        elif kind in ("part", "title", "film"):
            described += [part for part in _paragraphs(text) if _is_prose(part)]
        elif not match.group().lower().lstrip().startswith("wet"):
            described += [part for part in _paragraphs(text)[1:] if _is_prose(part)]
    findings, impression = (_join_words(*parts[kind]) for kind in ("findings", "impression"))
    if not findings:
        findings = _join_words(*described)
    if not findings and not impression:
        findings = _join_words(preamble)  # a report in capitals throughout
    return Sections(findings, impression)


def join_sections(findings: str, impression: str) -> str:
    """One report of the form "FINDINGS: ... IMPRESSION: ..."; an empty section leaves its heading out."""
    findings, impression = _join_words(findings), _join_words(impression)
    parts = [f"FINDINGS: {findings}" if findings else "", f"IMPRESSION: {impression}" if impression else ""]
    return " ".join(part for part in parts if part)


def _kind(match: re.Match[str]) -> str:
    """findings, impression, title, other, film, part (of the body), or none: no heading after all."""
    if match.lastgroup not in ("unknown", "word"):
        return match.lastgroup
    text = match[match.lastgroup].strip().upper()
    close = difflib.get_close_matches(text, ("FINDINGS", "IMPRESSION", "IMPRESSIONS"), n=1, cutoff=0.8)
    if close:
        return "findings" if close[0] == "FINDINGS" else "impression"
    if match.lastgroup == "word":
        return "none"
    if _FILM_WORDS.search(text):
        return "film"
    return "part" if _BODY_WORDS.search(text) else "other"


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n[ \t]*\n", text)


def _is_prose(text: str) -> bool:
    """Whether text reads as sentences: mostly small letters, and a stop."""
    letters = [letter for letter in text if letter.isalpha()]
    small = sum(letter.islower() for letter in letters)
    return len(text.split()) > 1 and small > 0.6 * len(letters) and "." in text


def _join_words(*texts: str) -> str:
    return " ".join(" ".join(texts).split())
