"""Anatomy and the state that is said of it: "normal heart size", "the heart is enlarged"."""

import re

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.labeler.events import Event
from data_module.labeler.vocabulary import ANATOMY_MEANING, OTHER

STATES = frozenset({"NORMAL", "ABNORMAL", "ALTERED", "DOUBTFUL"})
_BY_SIZE = frozenset({"heart", "silhouette", "mediastinum"})
_BETWEEN = frozenset({"VERB", "BREAK"})
_SIZE = re.compile(r"\b(?:size|width|ratio|index|ctr)\b")
_NOT = re.compile(r"\b(?:not|nor|neither|never|no longer)\b")
_NEAR = 12  # characters
_NOW_CLEAR = re.compile(r",? (?:(?:is|are) )?now \w*? ?(?:clear|normal)")
_ARTICLE = 5  # characters, more than "the "
_LINKS = {
    *("", "of the", "of", "in the", "size of the", "appearing", "central", "bilateral", "left", "right"),
}


def read_anatomy(sentence: str, events: list[Event]) -> list[tuple[int, float]]:
    """Pair anatomy with its state, before ("normal heart size") or behind ("heart is enlarged")."""
    mentions: list[tuple[int, float]] = []
    waiting: list[Event] = []
    attribute: Event | None = None
    for i, event in enumerate(events):
        if event.kind == "ANATOMY":
            if attribute is not None:
                mentions += _mean(sentence, event, attribute)
            else:
                waiting.append(event)
        elif event.kind in STATES:
            following = events[i + 1] if i + 1 < len(events) else None
            if following is not None and not _is_adjacent(sentence, event, following):
                following = None
            opens = not waiting or events[i - 1].kind in ("COMMA", "AND", "WITH", "HAVE", "BREAK")
            if following and following.kind == "FINDING":
                clear = event.start < _ARTICLE and sentence.startswith("clear", event.start)
                if event.kind == "NORMAL" and event.code == POSITIVE and not clear:  # "a clear pneumothorax"
                    following.code = NEGATIVE
                continue
            if following and following.kind in STATES:
                continue
            if following and following.kind == "ANATOMY" and opens:
                attribute, waiting = event, []
                continue
            if event.kind == "NORMAL" and event.code == POSITIVE:
                _deny_before(sentence, events, i)
            for region in waiting:
                mentions += _mean(sentence, region, event)
            attribute, waiting = None, []
        elif event.kind in ("BREAK", "WITH", "HAVE"):
            attribute = None
            then = next((later.kind for later in events[i + 1 : i + 4] if later.kind not in _BETWEEN), "")
            if then not in STATES:  # though "hyperinflated but clear", "has decreased but remains enlarged"
                waiting = []
        elif event.kind == "COMMA" and attribute is not None and attribute.kind != "NORMAL":
            attribute = None
    return mentions


def _deny_before(sentence: str, events: list[Event], i: int) -> None:
    """ "Interstitial markings are normal", "pneumonia, now clear": the finding before is denied."""
    if i >= 2 and events[i - 1].kind == "VERB" and events[i - 2].kind == "FINDING":
        events[i - 2].code = NEGATIVE
    before = events[i - 1 - (i >= 2 and events[i - 1].kind == "COMMA")] if i else None
    if before and before.kind == "FINDING" and _NOW_CLEAR.fullmatch(sentence, before.end, events[i].end):
        before.code = NEGATIVE


def _is_adjacent(sentence: str, event: Event, following: Event) -> bool:
    return sentence[event.end : following.start].strip() in _LINKS


def _mean(sentence: str, region: Event, state: Event) -> list[tuple[int, float]]:
    """What `state`, with its own certainty, says about the findings of `region`."""
    asserted, denied = ANATOMY_MEANING[region.region]
    said = sentence[state.start : state.end]
    if state.kind == "NORMAL":
        if state.code == NEGATIVE:
            measured = any(word in said for word in ("size", "width", "calib"))
            of_size = measured or _SIZE.search(sentence, region.start, region.end)
            start = max(0, min(region.start, state.start - _NEAR))
            if region.region in _BY_SIZE and of_size and _NOT.search(sentence, start, state.start):
                return [(FINDINGS.index(name), POSITIVE) for name in asserted]
            return [(OTHER, POSITIVE)]  # "not normal", but not in which way
        code = NEGATIVE if state.code == POSITIVE else UNCERTAIN
        return [(FINDINGS.index(name), code) for name in denied]
    if state.code is None or (state.kind == "ABNORMAL" and region.region == "film"):  # "large body habitus"
        return []
    if region.region == "pleura" and "thick" in said:
        asserted = ("Pleural Other",)
    code = UNCERTAIN if state.kind == "DOUBTFUL" and state.code == POSITIVE else state.code
    if (not asserted and region.region != "lungs") or (state.kind == "ALTERED" and region.region in _BY_SIZE):
        return [(OTHER, code)]
    return [(FINDINGS.index(name), code) for name in asserted]
