"""References to earlier studies, out of a report: a model that sees one film can only invent them.

The kinds of phrase follow Ramesh et al., "Improving radiology report generation systems by removing
hallucinated references to non-existent priors" (ML4H 2022); the rules are our own.
"""

import re

from data_module.sentences import split_sentences

_STUDY = (
    r"(?:(?:chest|portable|frontal|lateral|pa|ap|recent|most|outside|same|day|earlier|available)\s+)*"
    r"(?:stud(?:y|ies)|exam(?:ination)?s?|radiographs?|films?|images?|imaging|x-?rays?|cxrs?|cts?"
    r"|(?:ct\s+)?scans?|comparisons?)"
)
_PRIOR = (
    r"(?:the\s+|a\s+|an\s+)?(?:most\s+recent\s+|immediate\s+)?(?:prior|previous|preceding|earlier|last)"
    rf"(?:\s+{_STUDY}\b|(?=\s*(?:[.,;]|$)))"
)
_DATED = rf"(?:the\s+)?{_STUDY}\s+(?:from|of|dated|on|performed)\b"
_BLANK = r"(?:_{2,}|X{3,})"
# "compared to the prior study of ___", "since the previous film", up to the end of its clause.
_COMPARED = (
    rf"(?:as\s+|when\s+)?(?:in\s+)?(?:compar(?:ed|ison)(?:\s+is\s+made)?\s+(?:to|with)\b|since|from)\s+"
    rf"(?:{_PRIOR}|{_DATED}|{_BLANK})[^,.;]*"
)
_DEGREE = (
    r"(?:(?:not|significantly|largely|grossly|essentially|relatively|overall|otherwise|again|slightly"
    r"|mildly|minimally|also|now|substantially|appreciably|definitely|markedly|moderately)\s+)*"
)
_SAME = (
    rf"{_DEGREE}(?:unchanged|stable|similar|constant|the\s+same|(?:increased|decreased|improved|worsened"
    r"|worse|better|changed|progressed|larger|smaller)(?=\s*(?:[.,;]|$|in\s|since|from|compared)))"
    r"(?:\s+in\s+(?:size|appearance|position|extent|configuration|number|severity|distribution))*"
    r"(?:\s+and\s+(?:size|appearance|position|extent))?"
)
# A predicate that is only a comparison, so that its subject alone is left: "Cardiomegaly is unchanged."
_PREDICATE = re.compile(
    rf"\s*,?\s*\b(?:is|are|remains?|appears?|(?:has|have)(?:\s+been)?)\s+{_SAME}"
    r"(?=\s*(?:[.,;]|$|with\b))"
    r"|\s*\b(?:(?:is|are|remains?)\s+)?in\s+(?:unchanged|stable|similar|the\s+same)\s+(?:position|location)s?\b",
    re.IGNORECASE,
)
_CHANGE = (
    r"(?:increases?|decreases?|improvements?|worsening|progression|enlargement|development|placement"
    r"|insertion|change)"
)
_COMPARISON = re.compile(rf",?\s*\b{_COMPARED}", re.IGNORECASE)
_PHRASES = re.compile(
    rf"\b(?:there\s+(?:is|has\s+been)\s+)?{_DEGREE}(?:interval|slight|further)\s+{_CHANGE}\s+(?:in|of)"
    r"(?:\s+the)?(?:\s+size\s+of)?\b"
    r"|,?\s*\b(?:in\s+the\s+interval|without\s+(?:interval\s+|significant\s+)*change)\b"
    rf"|,?\s*\b(?:similar|compared)\s+(?:to|with)\s+{_PRIOR}"
    r"|\bpreviously\s+(?:seen|noted|described|identified|visualized|demonstrated|reported)\b"
    rf"|\b(?:{_DEGREE})(?:unchanged|stable|persistent|persisting)\b(?:\s+(?:from|since|compared)[^,.;]*)?"
    r"|\b(?:re-?demonstrated|re-?demonstration\s+of|once\s+again|again|as\s+before|as\s+on\s+prior|interval(?:ly)?)\b"
    r"|\bnew(?:ly)?\b(?!\s+(?:york|born))",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(rf"^(?:\d+\.\s+)?{_COMPARED},\s*", re.IGNORECASE)
# Sentences that hold nothing else: no change at all, what is no longer there, the comparison itself.
_EMPTY = re.compile(
    r"^(?:\d+\.\s+)?(?:(?:there\s+(?:is|has\s+been)\s+)?(?:no|little|minimal)\s+"
    r"(?:(?:significant|relevant|interval|appreciable|substantial|definite|other|further)\s+)*change\b"
    r"(?=\s*(?:[.,;]|$|in\b|of\b|since\b|from\b|when\b|as\b|compared\b))"
    r"|(?:comparison|compared)\s+(?:is\s+made\s+|was\s+made\s+)?(?:to|with)\b[^,]*$|no\s+(?:prior|previous)\b)"
    r"|\b(?:interval\s+(?:removal|resolution|clearing|extubation)|(?:has|have)\s+(?:now\s+|been\s+)*"
    r"(?:resolved|cleared|removed|extubated))\b",
    re.IGNORECASE,
)
# A subject that is there on every film says nothing without its predicate.
_NEUTRAL = re.compile(
    r"^(?:\d+\.\s+)?(?:(?:otherwise|overall|the|an?|this|these|it|there|his|her|appearance|of|cardiac|heart|cardiomediastinal|mediastinal"
    r"|mediastinum|hilar|hila|and|lungs?|pulmonary|vascularity|vasculature|size|silhouettes?|contours?"
    r"|structures?|osseous|bony|thorax|chest|exam(?:ination)?|study|findings?|position|is|are|in|with|has|have|been|but|seen)\b[\s,]*)*\.?$",
    re.IGNORECASE,
)


def remove_prior_references(text: str) -> tuple[str, int, int]:
    """One line of text without references to earlier studies.

    Returns:
        The text, the number of phrases removed, and the number of sentences dropped whole.
    """
    kept, num_phrases, num_dropped = [], 0, 0
    for sentence in split_sentences(text):
        cleaned, number = _clean(sentence)
        if cleaned:
            num_phrases += number
            kept.append(cleaned)
        else:
            num_dropped += 1
    return " ".join(kept), num_phrases, num_dropped


def _clean(sentence: str) -> tuple[str, int]:
    """A sentence without its references and how many there were; "" where nothing else is left."""
    if _EMPTY.search(sentence):
        return "", 1
    number = re.match(r"\d+\.\s+", sentence)
    cleaned, total = _LEAD_IN.subn(number[0] if number else "", sentence)
    for phrase in (_COMPARISON, _PREDICATE, _PHRASES):  # a predicate ends where the comparison stood
        cleaned, count = phrase.subn("", cleaned)
        total += count
    if not total:
        return sentence, 0
    cleaned = _tidy(cleaned)
    return ("", total) if _NEUTRAL.match(cleaned) or _EMPTY.search(cleaned) else (cleaned, total)


def _tidy(sentence: str) -> str:
    """Spaces, commas, articles and the first capital, after words were taken out."""
    sentence = re.sub(r"\s+", " ", sentence)
    sentence = re.sub(r"\s+([.,;)])", r"\1", sentence)
    sentence = re.sub(r"\(\s*\)|,\s*(?=[.,;])|\b(?:and|but|which|with)\s*,?\s*(?=\.$)", "", sentence)
    sentence = re.sub(r"\s+([.,;])", r"\1", sentence)
    sentence = re.sub(r"\b([Aa])n(?= [^aeiouAEIOU\W])", r"\1", sentence)
    sentence = re.sub(r"\b([Aa])(?= (?:[aeiouAEIO]))", r"\1n", sentence)
    sentence = re.sub(r"^((?:\d+\. )?)[\s,;]+", r"\1", sentence)
    return re.sub(r"^((?:\d+\. )?)([a-z])", lambda m: m[1] + m[2].upper(), sentence).strip()
