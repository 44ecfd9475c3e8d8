"""What the layout of a report parts and the reader joins: words broken at a line's end, headings of items."""

import re

from data_module.headings import known_kind
from data_module.labeler.anatomy import STATES
from data_module.labeler.events import find_events
from data_module.labeler.vocabulary import read_words

_BROKEN = re.compile(r"([^\W\d_]{2,24})-[ \t]{0,9}\n[ \t]{0,40}([^\W\d_]{2,24})")
_LONGEST_HEADING = 40  # characters
_MARK = re.compile(r"^(?:[-*>\u2013\u2014]|\(?\w{1,2}[.)])\s")
_PART = re.compile(r"\W{0,3}([A-Za-z][A-Za-z ,/&]{2,40}):")
_VERDICT = re.compile(
    r"\W*(?:no|none|nil|absent|negative|yes|present|positive|not (?:seen|present|identified))\W*",
    re.IGNORECASE,
)


def join_broken_words(text: str) -> str:
    """Words that were hyphenated at a line's end, in one: "pulmo-/nary"; "right-/sided" keeps its hyphen.

    A heading that ends with a dash, and a line that begins anew with a capital, go on as they are.
    """
    return _BROKEN.sub(_join, text) if "-\n" in text or "- \n" in text else text


def _join(match: re.Match[str]) -> str:
    first, second = match.groups()
    heading, anew = known_kind(first), second[0].isupper()
    if heading not in (None, "part", "film") or (anew and (heading or not first.isupper())):
        return match.group()
    whole = f"{first}{second}"
    return whole if whole.lower() in read_words() else f"{first}-{second}"


def attach_headings(sentences: list[str]) -> list[str]:
    """Put a heading that stands on a line of its own before what it is the heading of.

    "HEART" / "- Enlarged" becomes "HEART: - Enlarged", and "Effusion" / "None" "Effusion: None". Of further
    items those that name no organ or finding ("Clear") belong to the heading too.
    """
    if all(sentence[-1] == "." and ":" not in sentence for sentence in sentences):
        return sentences  # no headings
    attached: list[str] = []
    topic, is_open = "", False
    for sentence in sentences:
        if _is_heading(sentence):
            if is_open:
                attached.append(topic)
            topic, is_open = sentence.rstrip(" :-\u2013\u2014"), True
            continue
        if is_open or (topic and _is_state(sentence)):
            attached.append(f"{topic}: {_MARK.sub('', sentence)}")
        elif attached and _VERDICT.fullmatch(sentence) and _is_short(attached[-1]):
            attached[-1] = f"{attached[-1]}: {sentence}"
        else:
            attached.append(sentence)
            part = _PART.match(sentence) if ":" in sentence else None
            topic = part[1] if part and known_kind(part[1]) == "part" else topic
        is_open = False
    return [*attached, topic] if is_open else attached


def _is_short(sentence: str) -> bool:
    return len(sentence) < _LONGEST_HEADING and sentence[-1].isalpha()


def _is_heading(sentence: str) -> bool:
    return len(sentence) < _LONGEST_HEADING and sentence[-1] not in ".!?;" and known_kind(sentence) == "part"


def _is_state(sentence: str) -> bool:
    """Whether a short statement says how something is, but not what: "Mildly enlarged"."""
    if len(sentence) > _LONGEST_HEADING or ":" in sentence:
        return False
    kinds = {event.kind for event in find_events(_MARK.sub("", sentence).lower())}
    return not kinds.isdisjoint(STATES) and kinds.isdisjoint(("ANATOMY", "FINDING", "REPORTED"))
