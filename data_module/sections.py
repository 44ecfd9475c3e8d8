"""Sections of a report: findings and impression out of free text, prepared for training, and joined again."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from data_module.headings import find_headings, known_kind
from data_module.prior_studies import remove_prior_references
from data_module.sentences import split_sentences

_BLANK = r"(?:_{2,}|X{3,}|\[\*\*[^\[\]]*\*\*\]|\[(?:redacted|removed)\])"
# A word is looked at from its first letter only, so that the time is linear in the length of a word.
_BLANK_WORD = re.compile(rf"(?<![\w-])[\w-]*{_BLANK}[\w-]*", re.IGNORECASE)
# What introduces a blank says nothing without it.
_BLANK_PHRASE = re.compile(
    r"(?:\b(?:from|on|dated?|at|of|by|with|since|and|to|Drs?\.?|Mrs?\.?|Ms\.?)[ ]{1,3}){0,6}"
    + _BLANK_WORD.pattern,
    re.IGNORECASE,
)
_TAG = re.compile(r"[\[<]/?(findings|impression)[\]>]", re.IGNORECASE)  # [FINDINGS] ... [IMPRESSION] ...
# Sections that are a line: which film, how, beside which others.
_OF_FILM = re.compile(r"\W*(?:comparison|comp|technique|exam|stud|view|procedure|prior|film)", re.IGNORECASE)
_STATEMENT = re.compile(r"\b(?:there|is|are|has|have|no|without|shows?|seen|demonstrates?)\b", re.IGNORECASE)
_LINE_BREAK = re.compile(r"<br\s*/?>|\\n|\r\n?", re.IGNORECASE)  # as tables and web pages write it
# Text without a heading of its own that is no description: who the patient is, how the film was taken.
_NO_DESCRIPTION = re.compile(
    r"^\W*(?:(?:this is )?(?:an? )?(?:[_\d]+|X{3,})?[\s-]*(?:years?|yrs?|y/?o|months?|weeks?)\b[\s-]{1,3}old"
    r"|(?:an? |the )?(?:patient|(?:wo)?man|(?:fe)?male) (?:with|who|presents|presenting|status)\b"
    r"|(?:please )?(?:evaluate|eval|assess|rule out|r/o|question) "
    r"|(?:history of|status post|s/p|h/o|reason for|dictated"
    r"|electronically signed|signed by|i have|i, the|the attending)\b"
    r"|(?:(?:single|two|\d|an?|frontal|portable|upright|supine|pa|ap|and|lateral|chest|views?|radiographs?|films?"
    r"|images?|of|the|semi-?upright) ){1,12}(?:was|were|is|are)\b[^,;]{0,30}"
    r"(?:obtained|provided|acquired|submitted|performed|taken)\b[^,;]{0,20}$)",
    re.IGNORECASE,
)
# What an addendum says of the report and not of the film.
_ABOUT_REPORT = re.compile(
    r"\b(?:told|discuss\w*|communicat\w*|notif\w+|paged?|called|telephon\w*|phone|reviewed|dictat\w*|attending"
    r"|resident|wet read|report|e-?mail\w*|dashboard|conveyed|informed|Drs?)\b",
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
    counts["without_heading"] += not find_headings(report)
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


def count_blanked(texts: Iterable[str]) -> int:
    """How many texts carry a de-identification blank (___, XXXX, [**...**])."""
    return sum(_BLANK_WORD.search(text) is not None for text in texts)


def warn_of_blanks(texts: Sequence[str], what: str) -> None:
    """Say on standard error how many of the texts that films are asked for by carry blanks.

    Of the prompts of MIMIC-CXR those with blanks were memorized most, and of their words the blanks (Dutt,
    2025, arXiv 2502.07516).
    """
    if count := count_blanked(texts):
        print(
            f"warning: {count:,} of {len(texts):,} {what} carry de-identification blanks (___, XXXX): films "
            "of such texts were memorized most (arXiv 2502.07516). Leave them out: prepare_data.py "
            "--blanks remove does it for reports",
            file=sys.stderr,
        )


def remove_blanks(text: str) -> str:
    """`text` without its de-identification blanks and the prepositions and titles before them."""
    text = _join_words(_BLANK_PHRASE.sub(" ", text))
    text = re.sub(r"\s+([.,;:)])", r"\1", text)
    text = re.sub(r"([,;:])(?=[.,;:])|(?<![^.\s])[.,;:]", "", text)
    return _join_words(text)


def split_sections(report: str) -> Sections:
    """Findings and impression of a free report: every sentence of its description is in one of them.

    What reads as a description counts as findings without a heading of that name: text before the first
    heading, under a heading that names the film ("PORTABLE CHEST:") or a part of the body, under one that is
    not known, or in a paragraph of its own after another section. A section that comes twice is joined. A
    wet read, and what an addendum says about the report, are left out. "FINDINGS AND IMPRESSION" counts as
    findings. Words that were broken at a line's end are whole again.
    """
    report = _TAG.sub(r"\n\1:\n", _join_broken_words(_LINE_BREAK.sub("\n", report)))
    headings = find_headings(report)
    parts: dict[str, list[str]] = {"findings": [], "impression": []}
    preamble = report[: headings[0].start] if headings else report
    parts["findings"] += _find_description(preamble)
    ends = [*(heading.start for heading in headings[1:]), len(report)]
    section = ""  # findings or impression, while one of them is open
    for (start, after, kind), end in zip(headings, ends, strict=False):
        text = report[after:end].lstrip(" \t*_")
        if kind in parts:
            section = kind
        elif kind not in ("film", "part", "unknown"):
            section = ""
        if section:  # a part's name stays: "LUNGS: Clear." says more than "Clear."
            parts[section].append(report[start:end] if kind in ("part", "unknown") else text)
        else:
            parts["findings"] += _describe(kind, report[start:after], text)
    findings, impression = (_join_words(*parts[kind]) for kind in ("findings", "impression"))
    if not findings and not impression:
        findings = _join_words(preamble)  # words without a stop
    return Sections(findings, impression)


def _join_broken_words(report: str) -> str:
    from data_module.labeler.layout import join_broken_words  # late: it knows words that --help need not read

    return join_broken_words(report)


def _describe(kind: str, heading: str, text: str) -> list[str]:
    """What describes the film in the text below a heading that is not of findings or impression."""
    if kind == "part":
        said = text.split() and not re.fullmatch(
            r"\W*(?:none|n/?a|nil|not available)?\W*", text, re.IGNORECASE
        )
        return [f"{heading} {text}"] if said else []
    if kind == "unknown":
        return [f"{heading} {text}"] if _find_description(text) else []
    if kind == "addendum":
        sentences = [part for text in _find_description(text) for part in split_sentences(text)]
        return [sentence for sentence in sentences if not _ABOUT_REPORT.search(sentence)]
    if kind in ("title", "film"):
        return _find_description(text)
    first, *rest = _paragraphs(text)
    if kind == "other" and not heading.lower().lstrip().startswith("wet"):
        # Such a section is a line; one that ends with a stop, and the next begins anew.
        line, *lines = re.split(r"(?<=[.\]_])[ \t]*\n(?=[ \t]*[A-Z])", first.strip(), maxsplit=1)
        said = [part for part in split_sentences(_join_words(line))[1:] if _STATEMENT.search(part)]
        rest = (said if _OF_FILM.match(heading) else []) + lines + rest
    rest = [text for text in rest if not re.search(r"\bavailable\b|\bfor comparison\b", text)]
    return [found for paragraph in rest for found in _find_description(paragraph)]


def _find_description(text: str) -> list[str]:
    """The paragraphs of a text that read as sentences, without those about patient and technique."""
    found = []
    for paragraph in _paragraphs(text):
        if _is_prose(paragraph):
            sentences = split_sentences(_join_words(paragraph))
            found.append(" ".join(part for part in sentences if not _NO_DESCRIPTION.search(part)))
    return [part for part in found if part]


def section_text(report: str) -> str:
    """The words of a report's sections without their headings, and the whole text where it has no section."""
    return _join_words(*split_sections(report)) or _join_words(report)


def join_sections(findings: str, impression: str) -> str:
    """One report of the form "FINDINGS: ... IMPRESSION: ..."; an empty section leaves its heading out."""
    findings, impression = _join_words(findings), _join_words(impression)
    parts = [f"FINDINGS: {findings}" if findings else "", f"IMPRESSION: {impression}" if impression else ""]
    return " ".join(part for part in parts if part)


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n[ \t]*\n", text)


def _is_prose(text: str) -> bool:
    """Whether text reads as sentences: a stop, and words that are more than the name of a film."""
    if "." not in text or len(text.split()) < 2:
        return False
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter.islower() for letter in letters) > 0.6 * len(letters):
        return True
    return any(
        known_kind(part.strip(" .")) is None for part in re.split(r"[.,]\s", text) if " " in part.strip()
    )


def _join_words(*texts: str) -> str:
    return " ".join(" ".join(texts).split())
