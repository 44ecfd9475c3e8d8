"""Sections of a report: findings and impression out of free text, and back into one string."""

import re
from typing import NamedTuple

# Headings of the two sections and of everything else that stands in reports, in their usual spellings.
_FINDINGS = r"findings?|report|description|observations?|findings?\s*(?:/|and|&)\s*impressions?"
_IMPRESSION = (
    r"impressions?|conclusions?|summary|opinion|assessment|interpretation|(?:final\s+)?diagnosis"
    r"|impressions?\s*(?:/|and|&)\s*recommendations?"
)
_OTHER = (
    r"final\s+report|wet\s+read|addendum|indications?|clinical\s+(?:history|information|indications?|details|data)"
    r"|(?:patient\s+|medical\s+)?history|(?:reason|indication)\s+for\s+(?:the\s+)?(?:exam(?:ination)?|study)"
    r"|comparisons?|comparison\s+stud(?:y|ies)|techniques?|exam(?:ination)?s?|study|procedure|views?"
    r"|recommendations?|notifications?|attestation|signed|electronically\s+signed\s+by"
)
_KINDS = {"findings": _FINDINGS, "impression": _IMPRESSION, "other": _OTHER}
_KNOWN = "|".join(f"(?P<{kind}>{names})" for kind, names in _KINDS.items())
# A known heading at the start of a line or after a sentence in any case, or anywhere in capitals; and any
# other line that starts with capitals and a colon ("CHEST, TWO VIEWS:").
_HEADING = re.compile(
    rf"(?:^[ \t]*|(?<=[.:;!?\]])\s+|(?<=\s)(?=[A-Z][A-Z /&]{{3,40}}:))(?i:{_KNOWN})[ \t]*(?::|-(?=\s)|(?=\n))"
    r"|^[ \t]*(?P<unknown>[A-Z][A-Z0-9 ,/&()'-]{2,60}):",
    re.MULTILINE,
)


class Sections(NamedTuple):
    """The two sections that training uses; whitespace is single spaces; "" where one is missing."""

    findings: str
    impression: str


def split_sections(report: str) -> Sections:
    """Findings and impression of a free report.

    Text before the first heading, and a report without any heading, counts as findings when no findings
    section stands in it; otherwise it is a title and left out. A section that comes twice (an addendum) is
    joined. "FINDINGS AND IMPRESSION" counts as findings.
    """
    parts: dict[str, list[str]] = {"findings": [], "impression": [], "other": [], "unknown": []}
    matches = list(_HEADING.finditer(report))
    preamble = report[: matches[0].start()] if matches else report
    ends = [*(match.start() for match in matches[1:]), len(report)]
    for match, end in zip(matches, ends, strict=False):
        text = report[match.end() : end]
        parts[match.lastgroup or "unknown"].append(text)
    findings, impression = (_join_words(*parts[kind]) for kind in ("findings", "impression"))
    return Sections(findings or _join_words(preamble), impression)


def join_sections(findings: str, impression: str) -> str:
    """One report of the form "FINDINGS: ... IMPRESSION: ..."; an empty section leaves its heading out."""
    findings, impression = _join_words(findings), _join_words(impression)
    parts = [f"FINDINGS: {findings}" if findings else "", f"IMPRESSION: {impression}" if impression else ""]
    return " ".join(part for part in parts if part)


def _join_words(*texts: str) -> str:
    return " ".join(" ".join(texts).split())
