"""Report text -> clean lower-case statements: sections, headers, verdicts, abbreviations."""

import re
from collections.abc import Iterator

from data_module.headings import find_headings
from data_module.labeler.layout import attach_headings, join_broken_words
from data_module.sentences import plain_characters, split_sentences

_ORGANS = r"(heart(?: size)?|cardiac silhouette|mediastinum|lungs?|lung fields|pleura|hila|bones|ribs)"
# Headings of what says why or how the film was taken: the findings below them are not asserted.
_IGNORED = frozenset(("history", "other"))
_WORD = re.compile(r"[^\W\d_]")
_ASKED = re.compile(r"\W*(?:please|kindly|eval\b|evaluat|assess|rule out|r/o|query|exclude)", re.IGNORECASE)
_ASSERTED = re.compile(r"\W*(?:wet|recommendation)", re.IGNORECASE)  # of the other ones
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
    "d/c'd": "discontinued",
    "dc'd": "discontinued",
}
_ABBREVIATION = re.compile(r"\b(?:(?:[wrh]/o|c/w|s/p|and/or|can't|d/c'd|dc'd)\b|w/(?= ?[a-z])|vs\b\.?)")
# "Effusion: none", "effusion (-)", "effusion = absent": what is said of a finding behind a sign.
_DENIED = (
    r"(?:no|none|nil|neg|negative|absent|not (?:present|seen|identified|evident|visualized)|none (?:seen"
    r"|acute)"
    r"|no evidence(?: of)?|resolved|cleared|unlikely|improbable)"
)
_AFFIRMED = r"(?:yes|present|positive|pos|seen)"
# ... up to the end of the clause, or to where or when it is said of
_VERDICT_END = (
    r"\s?(?:[.,;\n)(\[]|$)|\s(?:in|at|on|over|within|along|throughout|bilaterally|today|now|currently)\b"
)
_DOUBTED = r"(?:possible|probable|uncertain|equivocal|questionable|indeterminate|suspected|maybe)"


def _verdict(words: str, signs: str) -> str:
    """Pattern of a verdict: behind a colon or dash up to the end of the clause, or in brackets."""
    return (
        rf"(?:\s?[:=]\s?|\s[-–—]+\s|[–—]){words}(?={_VERDICT_END})|\s?[:=]\s?{signs}(?=\s?(?:[.,;\n)]|$))"
        rf"|\s?[(\[]\s?(?:{words}|{signs})\s?[)\]]"
    )


# "... pneumothorax. It has resolved." speaks of what stands before.
_ANAPHOR_WORDS = (
    r"(?:(?:it|this|these|they|that|both) (?=(?:is|are|was|were|has|have|had|cannot)\b(?: \w+){0,3}? "
    r"(?:resolved|cleared|gone|disappeared|vanished|removed|excluded|ruled out|no longer"
    r"|not \w+ (?:today|now|on today's))\b)|(?=none (?:is|are|was|were|remains?|seen|today|now|currently)\b))"
)
# "The right effusion has resolved, while the left persists" speaks of another effusion.
_CONNECTORS = r"(?:and|but|while|whereas|although|though|however|yet)"
_OTHER_ONE_WORDS = (
    r"(?:the (?:left|right|other|others|rest|remaining)(?:[- ]sided)?(?: ones?| side)?|others"
    r"|th(?:at|ose) (?:on|at|in) the (?:left|right)) (?=(?:has|have|is|are|was|were|persists?|remains?"
    r"|appears?|continues?|does|did|shows?)\b)"
)
_OTHER_ONE = rf"(?:[,;]\s(?:{_CONNECTORS}\s)?|\s{_CONNECTORS}\s){_OTHER_ONE_WORDS}"
# "Small left, no right effusion" names the finding once.
_ONE_SIDE = (
    r"(?:(?<=^)|(?<=[,;] ))((?:there is )?(?:a )?(?:(?:small|tiny|trace|minimal|mild|moderate|large|slight"
    r"|new|stable|persistent|unchanged) ){0,2}(?:left|right))(?: sided)?(?:,|,? and|,? but) no (left|right)"
    r"(?: sided)? ((?:pleural )?[a-z]+)"
)
_SAYS_OTHER_ONE = re.compile(rf"{_OTHER_ONE}|{_ONE_SIDE}")
_REFERENCE = re.compile(rf"({_ANAPHOR_WORDS})|{_OTHER_ONE_WORDS}", re.IGNORECASE)
# What is written anew in turn: what the text must hold one of, the pattern, what takes its place.
_VERDICT_SIGNS = (":", "=", "(", "[", " -", "–", "—")
_REWRITES = tuple(
    (signs, re.compile(pattern), replacement)
    for signs, pattern, replacement in (
        (("'",), r"n't\b", " not"),
        (
            ("extubated",),
            r"\b(?:(?:has|have|was|were|is|been) ){0,3}extubated\b",
            "endotracheal tube has been removed",
        ),
        (("extubation",), r"\bextubation\b", "removal of endotracheal tube"),
        (("-free",), r"\b([a-z]{4,40})-free\b", r"without \1"),
        ((";",), rf"\s?;\s?{_ANAPHOR_WORDS}", ", "),
        (("(",), r"\(((?:no|without|negative for) [^()]{1,80})\)", r" ; \1 ; "),
        (("#",), r"#\s?(?=(?:left|right|ribs?|clavicle|\d+(?:st|nd|rd|th))\b)", "fracture of "),
        (("no.",), r"\bno\.\s?(?=\d+(?![\d.)]))", "number "),  # No. 14 French
        ((";",), r"\s?;\s(?=(?:a |an )?\w+ ones? (?:is|are|has|have)\b)", ", while "),
        ((" no ",), _ONE_SIDE, r"\1 \3, no \2 \3"),
        (("th",), _OTHER_ONE, ", while other one "),
        (_VERDICT_SIGNS, _verdict(_DOUBTED, r"(?:\?|\+/-|±)"), " is possible"),
        (_VERDICT_SIGNS, _verdict(_DENIED, r"(?:-{1,3}|–)"), " is absent"),
        (_VERDICT_SIGNS, _verdict(_AFFIRMED, r"\+{1,3}"), " is present"),
        (("?",), r"\(([^()?]{1,80})\?\)", r" ; \1 is possible ; "),  # opacity (pneumonia?)
        (("?",), r"\?(?=\w)", " possible "),  # ?pneumonia
        (("?",), r"\?+(?=[\s)]|$)", " is possible ; "),
        (("[**",), r"\[\*\*[^\[\]]{0,80}\*\*\]", "___"),
        ((".",), r"(?<=\d)\.(?=\d)", ","),  # 1.5 cm is no end of sentence
        (
            (".",),
            r"\b(dr|mr|mrs|ms|approx|incl|pts?|fx|st|rt|lt|bilat|mod|e\.g|i\.e|a\.m|p\.m)\.(?= \w)",
            r"\1",
        ),
        (
            (".", ")"),
            r"(?:(?<=^)|(?<=[\s.:]))\(?(?:\d{1,2}|[a-h])[.)](?=\s|[a-z])",
            " ; ",
        ),  # 1. 2) b) of a list
        (("-", "–", "_"), r"(?<=[^\W_])[-–_]+(?=[^\W_])", " "),  # air-space, peri-hilar
        (("-", "–", "—"), rf"(?:(?<=^)|(?<=[.,;] )){_ORGANS}\s[-–—]+\s", r"\1 "),
        (("-", "–", "—"), r"\s[-–]+\s|^[-–]+\s|--+|–|—", " ; "),
        (("*", "•", ">>"), r"[*•]+|>>+", " ; "),
        (('"', "'", "`", "(", ")", "[", "]", ":"), r"[\"'`()\[\]:]", " "),
        (("",), r"\s+", " "),
    )
)
_PLAIN = re.compile(r"[a-z, ]*\.?")  # most sentences: nothing in them is to be written anew
_ANSWERED = re.compile(r"\?\s+(no|none|yes|negative|positive)(?=[.,;\n]|$)", re.IGNORECASE)
_TOPIC = re.compile(r"\W*((?:\w+ ){0,3})(\w{4,})\s?:\s?(?=(.+))", re.DOTALL)
_STATEMENT_END = re.compile(r"[.;!?]+")
_HEART_RATIO = re.compile(
    r"\b(?:cardio[- ]?thoracic (?:ratio|index)|ct ratio|c/t ratio|ctr)((?:[ :=]{1,3}(?:is|of|at"
    r"|approximately|about"
    r"|estimated|measures|measuring|less than|below|under|<|greater than|more than|above|over|exceeds"
    r"|exceeding|>)"
    r"){0,4})[ :=]{1,3}(\d{1,3}(?:[.,]\d{1,3})?)(?:/(\d{1,3})|( ?%))?"
)
_MAX_SENTENCE = 1000  # characters; what goes on for longer is cut at a blank, so that no rule reads for ever


def find_statements(report: str) -> str:
    """The report without the sections that assert nothing (indication, history, comparison, technique).

    A section ends at the next heading or at an empty line; text before the first heading is kept, and so are
    headings that name a part of the body, which the text below them goes on from. Where nothing would be
    left, the last section ends with its first sentence.
    """
    if ":" not in report:
        return report
    kept, start, ignoring = [], 0, False
    for heading in find_headings(report):
        kept.append(_section(report[start : heading.start], ignoring))
        start = heading.start if heading.kind in ("part", "unknown") else heading.end
        ignoring = heading.kind in _IGNORED and not _ASSERTED.match(report, heading.start)
    kept.append(_section(report[start:], ignoring))
    text = "\n".join(kept)
    if ignoring and not _WORD.search(text):  # "Comparison: none", and the description in the next line
        text = "\n".join(part for part in split_sentences(report[start:])[1:] if not _ASKED.match(part))
    return text


def _section(body: str, ignoring: bool) -> str:
    if not ignoring:
        return body
    paragraphs = re.split(r"\n[ \t]*\n", body.lstrip(), maxsplit=1)
    return paragraphs[1] if len(paragraphs) > 1 else ""


def split_report(report: str) -> list[str]:
    """Sentences of a report that assert something, as they stand in it."""
    sentences: list[str] = []
    text = find_statements(join_broken_words(plain_characters(report)))
    if "?" in text:
        text = _ANSWERED.sub(r": \1", text)
    for sentence in attach_headings(split_sentences(text)):
        reference = _REFERENCE.match(sentence)
        if reference and sentences and len(sentences[-1]) < _MAX_SENTENCE:
            sentences[-1] = f"{sentences[-1].rstrip(' .;')}, {sentence[max(reference.end(1), 0) :]}"
        elif len(sentence) <= _MAX_SENTENCE:
            sentences.append(sentence)
        else:
            sentences.extend(_cut(sentence))
    return sentences


def _cut(sentence: str) -> Iterator[str]:
    start = 0
    while len(sentence) - start > _MAX_SENTENCE:
        end = sentence.rfind(" ", start + 1, start + _MAX_SENTENCE)
        end = end if end > 0 else start + _MAX_SENTENCE
        yield sentence[start:end]
        start = end
    yield sentence[start:]


def read_statements(report: str) -> list[str]:
    """All lower-case statements of a report."""
    return [statement for sentence in split_report(report) for statement in split_statements(sentence)]


def split_statements(sentence: str) -> list[str]:
    """Lower-case statements of a sentence: abbreviations spelt out, one blank between words, few signs."""
    text = sentence.lower()
    if _PLAIN.fullmatch(text) and not _has_words_to_rewrite(text):
        text = text.strip(" ,.")
        return [text] if text else []
    if ":" in text:
        topic = _TOPIC.match(text)
        if topic and topic[2] in topic[3]:  # "Effusion: no significant effusion" says it once
            text = topic[3]
    text = _ABBREVIATION.sub(lambda match: _ABBREVIATIONS[match.group()], text)
    if "ratio" in text or "ctr" in text or "index" in text:
        text = _HEART_RATIO.sub(_read_heart_ratio, text)
    for signs, pattern, replacement in _REWRITES:
        for sign in signs:
            if sign in text:
                text = pattern.sub(replacement, text)
                break
    return [part for part in (part.strip(" ,") for part in _STATEMENT_END.split(text)) if part]


def _has_words_to_rewrite(text: str) -> bool:
    """Of a text without signs."""
    if " vs" in text or "extubat" in text:
        return True
    may_say = (
        "left " in text or "right " in text or "other" in text or " rest " in text or "remaining " in text
    )
    return may_say and _SAYS_OTHER_ONE.search(text) is not None


def _read_heart_ratio(match: re.Match[str]) -> str:
    """A measured cardiothoracic ratio as words: above one half the heart is enlarged."""
    bound, number, whole, percent = match.groups()
    ratio = float(number.replace(",", "."))
    if whole or percent or ratio > 1:
        ratio /= max(float(whole or 100), 1.0)
    below = any(word in bound for word in ("less", "below", "under", "<"))
    above = any(word in bound for word in ("greater", "more", "above", "over", "exceed", ">"))
    large = not below and (ratio > 0.5 or (above and ratio == 0.5))
    return "heart is enlarged" if large else "heart size is normal"
