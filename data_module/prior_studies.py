"""References to earlier studies, out of a report: a model that sees one film can only invent them.

What a comparison says of today's film stays: "No change in the left effusion." becomes "Left effusion." Only
what is about the past alone goes whole: "The pneumothorax has resolved."

The kinds of phrase follow Ramesh et al., "Improving radiology report generation systems by removing
hallucinated references to non-existent priors" (ML4H 2022); the rules are our own. All repetitions are
bounded, so that the time is linear in the length of a text.
"""

import re

from data_module.sentences import split_sentences

_BLANK = r"(?:_{2,}|X{3,})"
_STUDY = (
    r"(?:(?:chest|portable|frontal|lateral|pa|ap|recent|most|outside|same|day|earlier|available)\s+){0,5}"
    r"(?:stud(?:y|ies)|exam(?:ination)?s?|radiographs?|films?|images?|imaging|x-?rays?|cxrs?|cts?"
    r"|(?:ct\s+)?scans?|comparisons?)"
)
_PRIOR = (
    r"(?:the\s+|a\s+|an\s+)?(?:multiple\s+|several\s+)?(?:most\s+recent\s+|immediate\s+)?"
    rf"(?:priors?|previous|preceding|earlier|last|comparison|baseline|outside)(?:\s+{_STUDY}\b|(?=\s*(?:[.,;)]|$)))"
)
_DATED = rf"(?:the\s+)?{_STUDY}\s+(?:from|of|dated|on|performed)\b"
# Where and when the earlier study was made; what follows is about today's.
_WHEN = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:(?:same|earlier|previous|prior|outside|other|one|two|three|a|few)\s+){0,2}"
    r"(?:days?|mornings?|evenings?|dates?|hospitals?|months?|years?|weeks?|hours?|institutions?|time)"
    rf"|earlier|today|yesterday|ago|before|prior|at|am|pm|a\.m\.?|p\.m\.?|{_BLANK}|\d[\d/:-]*(?:\.\d+)?)"
)
_WHENCE = (
    r"(?:,?\s+(?:(?:and|or|to|from|of|dated|performed|obtained|taken|made|done|on|at|in)\s+){0,2}"
    rf"(?:the\s+|an?\s+)?{_WHEN}(?![\w-])){{0,6}}"
)
# "compared to the prior study of ___", "since the previous film".
_COMPARED = (
    r"(?:as\s+|when\s+)?(?:in\s+)?(?:compar(?:ed|ison)(?:\s+(?:is|was)\s+made)?\s+(?:to|with)\b|since|from)\s+"
    rf"(?:{_PRIOR}|{_DATED}|{_BLANK}|before\b|yesterday\b"
    r"|(?:\w+\s+)?(?:hours?|days?|weeks?|months?|years?)\s+(?:ago|earlier|before|prior)\b)"
    rf"{_WHENCE}"
)
_DEGREE = (
    r"(?:(?:not|significantly|largely|grossly|essentially|relatively|overall|otherwise|again|slightly"
    r"|mildly|minimally|also|now|substantially|appreciably|definitely|markedly|moderately)\s+){0,4}"
)
_ASPECT = (
    r"(?:size|appearance|position|extent|configuration|number|severity|distribution|degree|amount|volume)"
)
_SAME = (
    rf"{_DEGREE}(?:unchanged|stable|similar|constant|the\s+same|(?:increased|decreased|improved|worsened"
    r"|worse|better|changed|progressed|larger|smaller)(?=\s*(?:[.,;]|$|in\s|since|from|compared)))"
    rf"(?:\s+in\s+{_ASPECT}){{0,2}}(?:\s+and\s+(?:size|appearance|position|extent))?"
)
# A predicate that is only a comparison, so that its subject alone is left: "Cardiomegaly is unchanged."
_PREDICATE = re.compile(
    rf"\s{{0,3}},?\s{{0,3}}\b(?:is|are|remains?|appears?|(?:has|have)(?:\s+been)?)\s+{_SAME}"
    r"(?=\s*(?:[.,;]|$|with\b))"
    r"|\s{0,3}\b(?:(?:is|are|remains?)\s+)?in\s+(?:unchanged|stable|similar|the\s+same)\s+(?:position|location)s?\b",
    re.IGNORECASE,
)
_ARRIVAL = (
    r"(?:increases?|decreases?|improvements?|worsening|progression|enlargement|development|placement"
    r"|insertion|change)"
)
_COMPARISON = re.compile(rf",?\s{{0,3}}\b{_COMPARED}", re.IGNORECASE)
_SEEN = (
    r"(?:seen|noted|described|identified|visuali[sz]ed|demonstrated|reported|present|visible|evident"
    r"|appreciated)"
)
_PHRASES = re.compile(
    rf"\b(?:there(?:\s+is|\s+has\s+been|'s\s+been)\s+)?{_DEGREE}(?:interval|slight|further)\s+{_ARRIVAL}"
    r"\s+(?:in|of)(?:\s+the)?(?:\s+size\s+of)?\b"
    r"(?!\s+(?:size|(?:the\s+)?(?:cardi|heart|mediastin|pulmonary\s+vasc|lung)))"  # which are on every film
    rf"|,?\s{{0,3}}\b(?:which\s+)?(?:(?:was|were)\s+)?not\s+(?:{_SEEN}\s+(?:previously|before|(?:on|in)\s+{_PRIOR})"
    rf"|previously\s+{_SEEN})"
    r"|,?\s{0,3}\bin\s+the\s+interval\b"
    r"|,?\s{0,3}\bwithout\s+(?:(?:interval|significant|further|any)\s+){0,3}"
    rf"(?:change|increase|decrease|worsening|improvement|progression)\b(?:\s+in\s+{_ASPECT})?"
    rf"|,?\s{{0,3}}\b(?:similar|compared)\s+(?:to|with)\s+{_PRIOR}"
    rf"|\bpreviously\s+{_SEEN}\b"
    rf"|\b(?:{_DEGREE})(?:unchanged|stable|persistent|persisting)\b"
    rf"(?:\s+(?:from|since|compared\s+(?:to|with))\s+(?:the\s+)?(?:\w+\s+){{0,3}}{_STUDY}\b{_WHENCE})?"
    r"|\b(?:re-?demonstrated|re-?demonstration\s+of|once\s+again|again|as\s+before|as\s+on\s+prior|interval(?:ly)?)\b"
    r"|\bnew(?:ly)?\s+(?:or|and)\s+(?:increas|worsen|enlarg|progress)\w+"
    r"|\bnew(?:ly)?\b(?!\s+(?:york|born))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+\.\s+")
# "No change in X": X is there. "No acute change" is none of these.
_NO_CHANGE = re.compile(
    r"^(?:(?:overall|otherwise),?\s+)?(?:there\s+(?:is|are|has\s+been|have\s+been)\s+)?"
    r"(?:(?:no|little|minimal)\s+(?:evidence\s+of\s+)?"
    r"(?:(?:significant|relevant|interval|appreciable|substantial|definite|other|further|major|marked|obvious"
    r"|overall|new|gross|notable)\s+){0,4}"
    r"(?:changes?|increases?|decreases?|improvements?|worsening|progression|enlargement|reduction|resolution"
    r"|clearing|regression)\b)(?P<rest>\s*(?:[.,;]|$|(?:in|of|to|within|with|since|from|when|as|compared|except\w*|apart|aside)\b).*)$",
    re.IGNORECASE | re.DOTALL,
)
_OBJECT = re.compile(
    rf"^\s*(?:in|of|to|within)\s+(?:the\s+)?(?:(?:overall\s+|general\s+)?{_ASPECT}(?:\s+(?:and|or)\s+{_ASPECT})?"
    r"\s+of\s+)?(?:the\s+|an?\s+|this\s+|these\s+)?",
    re.IGNORECASE,
)
# What was there once and is no more, said by a clause or by a noun.
_GONE = re.compile(
    r"\b(?:has|have|was|were)\s+(?:(?:now|been|since|completely|fully|entirely|also|subsequently)\s+){0,3}"
    r"(?:resolved|cleared|removed|extubated|disappeared)\b",
    re.IGNORECASE,
)
_REMOVAL = re.compile(
    r"\binterval\s+(?:removal|resolution|clearing|extubation|discontinuation)\b", re.IGNORECASE
)
_NOT_WHOLE = re.compile(
    r"\b(?:partial\w*|near\w*|almost|most\w*|incomplete\w*|large\w*|some)\b", re.IGNORECASE
)
_VERB = r"\b(?:is|are|was|were|has|have|remains?|appears?|shows?|persists?|there|seen|noted)\b"
_FRESH = r"(?:new|persist\w+|residual|unchanged|stable|no|there|interval|increas\w+|decreas\w+|worsen\w+)\b"
# Where a new clause begins: behind a finished one, or before words that begin one.
_JOINT = re.compile(
    r"\s*;\s*|,?\s+(?:but|however|whereas|while|although)\s+(?!since\b)"
    rf"|,?\s+and\s+(?=(?:the\s+|an?\s+)?{_FRESH}|[^,;]{{0,80}}{_VERB})"
    r"|,?\s+with\s+|,?\s+(?=without\b)"
    rf"|,\s+(?=(?:an?\s+|the\s+)?{_FRESH}|(?!and\b|or\b|including\b|such\b|which\b|as\b|from\b|since\b)[^,;]{{0,80}}{_VERB})",
    re.IGNORECASE,
)
# "No change except for X", "apart from X, no change": X is there.
_EXCEPT = re.compile(
    r"\b(?:except(?:ing)?(?:\s+for)?|apart\s+from|other\s+than|aside\s+from)\s+(?P<what>[^,;.]+)",
    re.IGNORECASE,
)
_REPLACED = re.compile(r"^.*\breplaced\s+(?:by|with)\s+", re.IGNORECASE | re.DOTALL)
# Sentences that hold nothing but the comparison itself.
_ONLY_COMPARISON = re.compile(
    r"^(?:(?:comparison|compared)\s+(?:(?:is|was)\s+made\s+)?(?:to|with)\b(?![^.]*\b(?:there|is|are|has|have|shows?)\b)"
    rf"[^.;]*|no\s+(?:prior|previous)s?(?:\s+(?:{_STUDY}|for|is|are|available)\b[^,;.]*)?)[.]?$",
    re.IGNORECASE,
)
# A subject that is there on every film says nothing without its predicate.
_NEUTRAL = re.compile(
    r"^(?:(?:otherwise|overall|the|an?|this|these|it|there|his|her|appearance|of|cardiac|heart"
    r"|cardiomediastinal|mediastinal|mediastinum|hilar|hila|and|or|lungs?|pulmonary|vascularity|vasculature|size"
    r"|silhouettes?|contours?|structures?|osseous|bony|thorax|chest|exam(?:ination)?|study|findings?|position|is"
    r"|are|in|with|has|have|been|but|seen)\b[\s,]*){0,20}\.?$",
    re.IGNORECASE,
)


# Said of one film alone: "Pulmonary vascularity is increased."
_INCREASED = re.compile(r"^(?:the\s+)?pulmonary\s+vascul\w+\s+is\s+(?:\w+ly\s+)?increased\.?$", re.IGNORECASE)


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
    number = _NUMBER.match(sentence)
    head, body = (number[0], sentence[number.end() :]) if number else ("", sentence)
    if _ONLY_COMPARISON.match(body):
        return "", 1
    cleaned, total = _COMPARISON.subn("", body)  # first, since it may stand before anything
    if not total and _INCREASED.match(cleaned):
        return sentence, 0
    cleaned, count = _keep_present(cleaned.lstrip(" ,"))
    total += count
    for phrase in (_PREDICATE, _PHRASES):  # a predicate ends where the comparison stood
        cleaned, count = phrase.subn("", cleaned)
        total += count
    cleaned, count = _say_not(cleaned)
    total += count
    if not total:
        return sentence, 0
    cleaned = _tidy(cleaned)
    return ("", total) if not cleaned or _NEUTRAL.match(cleaned) else (head + cleaned, total)


def _keep_present(sentence: str) -> tuple[str, int]:
    """Without the clauses about what is gone; of "no change in X" the X alone."""
    exception = _EXCEPT.match(sentence)
    if exception and _NO_CHANGE.match(sentence[exception.end() :].lstrip(" ,")):
        gone = re.match(r"(?:the\s+)?(?:removal|resolution|clearing)\b", exception["what"], re.IGNORECASE)
        return ("" if gone else f"{exception['what']}."), 1
    if not (_NO_CHANGE.match(sentence) or _GONE.search(sentence) or _REMOVAL.search(sentence)):
        return sentence, 0
    kept, total = "", 0
    for joint, clause in _split_clauses(sentence):
        cleaned, changed = _clean_clause(clause)
        total += changed
        if cleaned:
            kept += (joint if kept else "") + cleaned
    kept = re.sub(r"^without\s+(?:evidence\s+of\s+)?(?:an?\s+|any\s+)?", "no ", kept, flags=re.IGNORECASE)
    return (kept if kept.endswith(".") or not kept else f"{kept}."), total


def _split_clauses(sentence: str) -> list[tuple[str, str]]:
    """(what joins it to the one before, clause), cut only behind a clause that is finished."""
    clauses, start, joint = [], 0, ""
    for match in _JOINT.finditer(sentence):
        clause, rest = sentence[start : match.start()], sentence[match.end() : match.end() + 40]
        finished = re.search(_VERB, clause, re.IGNORECASE) or ";" in match.group()
        noun = _REMOVAL.search(clause) or _NO_CHANGE.match(clause)
        fresh = re.match(rf"without\b|(?:an?\s+|the\s+)?{_FRESH}", rest, re.IGNORECASE)
        fresh = fresh or "with" in match.group()
        if finished if not noun else fresh:
            clauses.append((joint, clause))
            start, joint = match.end(), match.group()
    return [*clauses, (joint, sentence[start:])]


def _clean_clause(clause: str) -> tuple[str, bool]:
    match = _NO_CHANGE.match(clause)
    if match:
        found = _OBJECT.match(match["rest"])
        exception = _EXCEPT.search(match["rest"])
        if exception and not found:
            rest = exception["what"]
        elif found:
            rest = re.sub(r"\bor\b", "and", match["rest"][found.end() :])
        else:
            rest = match["rest"].partition(",")[2].strip()  # "no change, small effusion"
        return ("" if _NEUTRAL.match(rest) else rest), True
    gone = _GONE.search(clause) or _REMOVAL.search(clause)
    if not gone or _NOT_WHOLE.search(clause[max(0, gone.start() - 20) : gone.end()]):
        return clause, False
    return (_REPLACED.sub("", clause) if _REPLACED.match(clause) else ""), True


def _say_not(sentence: str) -> tuple[str, int]:
    """What is no longer there is not there."""
    sentence, first = re.subn(
        r"\b(there\s+(?:is|are))\s+no\s+longer(?:\s+any|\s+an?)?\b", r"\1 no", sentence, flags=re.I
    )
    sentence, second = re.subn(r"\bno\s+longer\b", "not", sentence, flags=re.I)
    return sentence, first + second


def _tidy(sentence: str) -> str:
    """Spaces, commas, articles and the first capital, after words were taken out."""
    sentence = " ".join(sentence.split())
    sentence = re.sub(r" ([.,;)])", r"\1", sentence)
    sentence = re.sub(r"\( ?\)|, ?(?=[.,;])|\b(?:and|but|which|with) ?,? ?(?=\.$)", "", sentence)
    sentence = re.sub(r" ([.,;])", r"\1", sentence)
    sentence = re.sub(r"\b([Aa])n(?= [^aeiouAEIOU\W])", r"\1", sentence)
    sentence = re.sub(r"\b([Aa])(?= (?!one\b|uni|eu)(?:[aeiouAEIO]))", r"\1n", sentence)
    sentence = re.sub(r"^[\s,;.]+|^(?:and|but|with|while|in)\s+(?=\S)", "", sentence)
    return sentence[:1].upper() + sentence[1:]
