"""Report text -> clean lower-case sentences: sections, headers, numbered lists, abbreviations."""

import re

# Sections that say why or how the film was taken, not what is on it: their findings are not asserted.
_IGNORED = (
    r"(?:clinical )?(?:indications?|history|information|data|statement|question|details)"
    r"|(?:brief |patient |relevant |past |medical ){1,3}history|history and indication|indication/history"
    r"|comparisons?(?: studies| films?)?|prior (?:study|studies|exam)|techniques?|procedures?(?: comments)?"
    r"|exam(?:ination)?s?|study|type of exam(?:ination)?|views?"
    r"|reason for (?:the )?(?:exam(?:ination)?|study)|clinical diagnosis|diagnosis at admission|symptoms?"
    r"|notification|dictated by|signed by"
)
_KEPT = (
    r"findings?|impressions?|conclusions?|opinion|interpretation|summary|addendum|wet read|report"
    r"|final report|preliminary report|findings (?:and|/) ?impression|findings/impression|recommendations?"
    r"|chest|result"
)
# A header stands at the start of a line or sentence; in capitals anywhere (line breaks get lost).
_HEADER = re.compile(
    rf"(?:(?<=^)|(?<=[.\n;:])|(?<=\n ))[ \t]*(?:(?i:({_IGNORED}))|(?i:{_KEPT}))[ \t]*:"
    rf"|(?<=\s)(?:({_IGNORED.upper()})|(?:{_KEPT.upper()}))[ \t]*:"
)
_ABBREVIATIONS = {
    "w/o": "without",
    "w/": "with ",
    "r/o": "rule out",
    "c/w": "consistent with",
    "s/p": "status post",
    "h/o": "history of",
    "and/or": "or",
    "vs": "versus",
    "vs.": "versus",
    "can't": "cannot",
    "can’t": "cannot",
}
_ABBREVIATION = re.compile(r"\b(?:(?:[wrh]/o|c/w|s/p|and/or|can['’]t)\b|w/(?= ?[a-z])|vs\b\.?)")
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"n['’]t\b", " not"),
        (r"\?(?=\w)", " possible "),  # ?pneumonia
        (r"\?+(?=\s|$)", " is possible . "),
        (r"\b(dr|mr|mrs|ms|approx|incl|pt|fx|st|e\.g|i\.e|a\.m|p\.m)\.(?= \w)(?! no\b)", r"\1"),
        (r"(?<=\d)\.(?=\d)", ","),  # 1.5 cm is no end of sentence
        (
            r"(?::|\s[-–—])\s*(?:no|none|absent|negative|not present|nil|not seen)\b(?=\s*(?:[.,;\n]|$))",
            " is absent",
        ),
        (r":\s*(?:yes|present|positive)\b(?=\s*(?:[.,;\n]|$))", " is present"),
        (r":\s*(?:possible|uncertain|equivocal|questionable)\b(?=\s*(?:[.,;\n]|$))", " is possible"),
        (r"(?:(?<=^)|(?<=[\s.:]))\(?\d{1,2}[.)](?=\s|[a-z])", " . "),  # 1. 2) of a numbered list
        (r"(?<=[^\W_])[-–—_]+(?=[^\W_])", " "),  # air-space, peri-hilar
        (r"\s[-–—]+\s|--+|–|—", " ; "),
        (r"[*•]+", " . "),
        (r"\n[ \t]*(?:-|\n)", " . "),
        (r"[\"'’`()\[\]:]", " "),
        (r"\s+", " "),
    )
)
_SENTENCE = re.compile(r"[.;!?]+")


def find_statements(report: str) -> str:
    """The report without the sections that assert nothing (indication, history, comparison, technique).

    A section ends at the next header or at an empty line; text before the first header is kept.
    """
    if ":" not in report:
        return report
    kept, start, ignoring = [], 0, False
    for match in _HEADER.finditer(report):
        kept.append(_section(report[start : match.start()], ignoring))
        start, ignoring = match.end(), any(match.groups())
    kept.append(_section(report[start:], ignoring))
    return "\n".join(kept)


def _section(body: str, ignoring: bool) -> str:
    if not ignoring:
        return body
    paragraphs = re.split(r"\n[ \t]*\n", body.lstrip(), maxsplit=1)
    return paragraphs[1] if len(paragraphs) > 1 else ""


def split_sentences(report: str) -> list[str]:
    """Lower-case sentences of a report, whitespace and punctuation made plain."""
    text = find_statements(report).lower()
    text = _ABBREVIATION.sub(lambda match: _ABBREVIATIONS[match.group()], text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return [sentence for sentence in (part.strip(" ,") for part in _SENTENCE.split(text)) if sentence]
