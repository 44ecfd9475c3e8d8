"""Cues whose sense the words around them decide: double negations, "exclude", and which way a cue reaches.

"Excludes X" denies X, "to exclude X" asks for it, "does not exclude X" and "X is hard to exclude" doubt it;
"resolved effusion" reaches forward, "effusion, now resolved" back; "has not resolved" denies nothing.
"""

import re

from data_module.labeler.events import Event

_BEFORE_RESOLVED = frozenset(
    {"FINDING", "OR", "AND", "COMMA", "CALCIFIED", "ANATOMY", "STABLE", "ABNORMAL", "VERB"}
)
_AROUND_VERB = frozenset({"NEGATE", "NEGATED", "HEDGE", "HEDGED", "DOUBT", "VERB", "HAVE", "SUSPECTED"})
_DOUBTED = re.compile(
    r"\b(?:not?|cannot|never|nothing|neither|nor|without|unable|difficult|hard|impossible|insufficient|limited"
    r"|fail\w*)\b"
)
_PERFECT = re.compile(r"\bha(?:s|ve|d) (?:not |never |\w+ly )*$")
_DEMANDED = re.compile(r"\b(?:to|should|must) be $")
_MAX_GAP = 12  # characters between a mention and the "resolved" said of it


def settle_cues(sentence: str, events: list[Event]) -> list[Event]:
    """The events with the sense of every ambiguous cue settled, less those that were part of another."""
    for i, event in enumerate(events):
        if event.kind in ("RESOLVED", "SUSPECTED"):
            close = i > 0 and event.start - events[i - 1].end < _MAX_GAP
            behind = close and events[i - 1].kind in _BEFORE_RESOLVED
            kinds = ("NEGATED", "NEGATE") if event.kind == "RESOLVED" else ("HEDGED", "HEDGE")
            event.kind = kinds[0] if behind else kinds[1]
        elif event.kind == "EXCLUDE":
            _settle_exclusion(sentence, events, i)
        if i > 0 and event.kind in ("NEGATE", "NEGATED"):
            doubly = sentence[events[i - 1].start : event.start] in ("not ", "never ")  # "has not resolved"
            if doubly:
                event.kind = events[i - 1].kind = ""
    return [event for event in events if event.kind]


def _settle_exclusion(sentence: str, events: list[Event], i: int) -> None:
    event = events[i]
    first = i
    while first > 0 and events[first - 1].kind in _AROUND_VERB:
        first -= 1
    before = sentence[events[first - 1].end if first > 0 else 0 : event.start]
    participle = sentence[event.start : event.end] in ("excluded", "ruled out")
    doubted = _DOUBTED.search(before) is not None
    if participle and (first > 0 or "be" in before) and not _PERFECT.search(before):
        event.kind = "HEDGED" if doubted or _DEMANDED.search(before) else "NEGATED"
    elif doubted:
        event.kind = "DOUBT" if _has_object(events, i) else "HEDGED"
    elif sentence[event.start : event.end] in ("exclude", "rule out"):
        event.kind = "HEDGE"
    else:
        event.kind = "NEGATE"
    for part in events[first:i]:
        part.kind = ""


def _has_object(events: list[Event], i: int) -> bool:
    for event in events[i + 1 :]:
        if event.kind in ("COMMA", "BREAK"):
            return False
        if event.kind == "FINDING":
            return True
    return False
