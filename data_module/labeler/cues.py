"""Cues whose sense the words around them decide: double negations, "exclude", and which way a cue reaches.

"Excludes X" denies X, "to exclude X" asks for it, "does not exclude X" and "X is hard to exclude" doubt it;
"resolved effusion" reaches forward, "effusion, now resolved" back. Cues cancel each other: what has not
resolved, has partly resolved or shall be removed is there, and so is what no lung is free of.
"""

import re
from collections.abc import Callable

from data_module.labeler.events import Event, cancel
from data_module.labeler.resolution import (
    CLAUSE_ENDS,
    REMOVAL,
    RESOLUTION,
    deny_no_change,
    settle_action,
    settle_removal,
    settle_resolution,
    tells_of_none_or_some,
)

Settle = Callable[[str, list[Event], int], None]

_BEFORE_RESOLVED = frozenset(
    {"FINDING", "OR", "AND", "COMMA", "CALCIFIED", "ANATOMY", "STABLE", "ABNORMAL", "ALTERED", "VERB"}
)
_AROUND_VERB = frozenset({"NEGATE", "NEGATED", "HEDGE", "HEDGED", "DOUBT", "VERB", "HAVE", "SUSPECTED"})
_DENIALS = frozenset({"NEGATE", "NEGATED"})
_DOUBTED = re.compile(
    r"\b(?:not?|cannot|never|nothing|neither|nor|without|unable|inability|difficult|hard|impossible"
    r"|insufficient|inadequate|premature|limited|fail\w*)\b"
)
_PERFECT = re.compile(r"\bha(?:s|ve|d) (?:not |never |\w+ly )*$")
_DEMANDED = re.compile(r"\b(?:to|should|must) be $")
_LONG_SUBJECT = 12  # events
_MAX_GAP = 12  # characters between a mention and the "resolved" said of it
_ABSENCE = re.compile(r"(?:free|clear|cleared|devoid|without|absence|lack|absent|lacking|void|spared)\b")
_PLAIN_NOT = frozenset({"no", "not", "nor", "neither", "never", "none of", "nothing", "without", "no longer"})
_CHANGE_AFTER = re.compile(
    r"(?: (?!and\b|or\b|with\b)\w+){0,4}? (?:change|increase|decrease|improvement|worsening|progression"
    r"|regression|reduction|enlargement(?! ?$|,)|growth|difference|deterioration|resolution|clearing"
    r"|clearance|expansion|shrinkage|diminution|variation|response)s?"
    r"(?: (?:in|of|to|from|since|with|at|on|for|compared|is|are|was|has)\b|$|,)"
)
_COMPARED = re.compile(
    r" (?:\w+ly |any |much )?(?:larger|smaller|greater|bigger|worse|better|different|more|less"
    r"|as (?!possible)\w+ as|(?:increased|decreased|improved|worsened|better|worse) nor)\b"
)
_EVOLVED = re.compile(
    r" (?:\w+ ){0,2}?(?:increas|decreas|improv|worse|progress|regress|enlarg|grow|chang|diminish|shrunk|evolv"
    r"|respond)\w*"
)
# A day that is written out or blanked is another one than that of the film.
_DAY = (
    r"(?:_{2,}|x{4,}(?=[.,;]|$)|\d{1,4}[/ ]\d{1,2}[/ ]\d{2,4}\b|\d{1,2}/\d{1,2}\b"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,7} \d)"
)
_PAST = re.compile(
    r" (?:\w+ ){0,2}?(?:before|previously|earlier|yesterday|last (?:week|month|year|night|time)"
    r"|(?:on|in|at|by) (?:the |any |an? |her |his |their )?(?:\w+ )?(?:prior|previous|preceding|earlier|last"
    r"|older|old|comparison|initial|yesterday)\b"
    rf"|(?:on|in|at|by) (?:the )?(?:\w+ ){{0,2}}?(?:(?:of|from|dated) )?{_DAY})"
)
_PROOF = re.compile(
    r"\b(?:confirm|assum|establish|guarant|assur|prove|verif|determin|ascertain|certain|granted)"
)


def settle_cues(sentence: str, events: list[Event]) -> list[Event]:
    """The events with the sense of every ambiguous cue settled, less those that were part of another."""
    for i, event in enumerate(events):
        for settle in _SETTLED_BY.get(event.kind, ()):
            settle(sentence, events, i)
    return [event for event in events if event.kind]


def _settle_direction(sentence: str, events: list[Event], i: int) -> None:
    """Cues that reach back when they stand right behind a mention, else forward."""
    event = events[i]
    denies = event.kind == "RESOLVED"
    close = i > 0 and event.start - events[i - 1].end < _MAX_GAP
    behind = close and events[i - 1].kind in _BEFORE_RESOLVED
    event.kind = ("NEGATED" if denies else "HEDGED") if behind else ("NEGATE" if denies else "HEDGE")


def _settle_hedge(sentence: str, events: list[Event], i: int) -> None:
    """ "is indeterminate for X" reaches forward; hedges of what shall be done with a device are none."""
    event = events[i]
    if event.kind == "HEDGED" and sentence.startswith((" for ", " as to "), event.end):
        event.kind = "HEDGE"
    following = next((later for later in events[i + 1 : i + 3] if later.kind != "RELATIVE"), None)
    if event.kind == "HEDGE" and following and following.start - event.end < _MAX_GAP:
        if following.kind == "ACTION" or REMOVAL.search(sentence, following.start, following.end):
            cancel(event)
        elif following.kind == "BREAK" and sentence.startswith(
            ("placement", "insertion", "there "), following.start
        ):
            cancel(following)  # "it is possible that there is a nodule"


def _settle_doubt(sentence: str, events: list[Event], i: int) -> None:
    """ "We cannot say that there is no X": the inner negation goes."""
    for j in range(i + 1, len(events)):
        if events[j].kind == "NEGATE":
            cancel(events[j])
        elif events[j].kind not in ("VERB", "BREAK", "HAVE"):
            return
        elif events[j].kind == "BREAK":
            cancel(events[j])


def _settle_exclusion(sentence: str, events: list[Event], i: int) -> None:
    event = events[i]
    first = i
    while first > 0 and (events[first - 1].kind in _AROUND_VERB or events[first - 1].region == "film"):
        first -= 1
    before = sentence[events[first - 1].end if first > 0 else 0 : event.start]
    participle = sentence[event.start : event.end] in ("excluded", "ruled out")
    doubted = _DOUBTED.search(before) is not None
    if participle and (first > 0 or "be" in before) and not _PERFECT.search(before):
        event.kind = "HEDGED" if doubted or _DEMANDED.search(before) else "NEGATED"
    elif doubted:
        event.kind = "DOUBT" if _has_object(events, i) else "HEDGED"
    elif sentence[event.start : event.end] in ("exclude", "rule out", "exclusion of", "exclusion"):
        event.kind = "HEDGE"
    else:
        event.kind = "NEGATE"
    cancel(*events[first:i])


def _has_object(events: list[Event], i: int) -> bool:
    for event in events[i + 1 :]:
        if event.kind in ("COMMA", "BREAK"):
            return False
        if event.kind == "FINDING":
            return True
    return False


def _settle_negation(sentence: str, events: list[Event], i: int) -> None:
    """Negations that others undo, weaken or put off, or that deny a change and no finding."""
    event = events[i]
    if event.kind not in _DENIALS:
        return
    words = sentence[event.start : event.end]
    if (
        event.kind == "NEGATED"
        and sentence.startswith(" of ", event.end)
        and (RESOLUTION.search(words) or REMOVAL.search(words))
    ):
        event.kind = "NEGATE"  # "with interval clearing of the effusion"
    if event.kind == "NEGATED" and tells_of_none_or_some(sentence, events, i):
        return
    if RESOLUTION.search(words):
        settle_resolution(sentence, events, i)
    elif REMOVAL.search(words):
        settle_removal(sentence, events, i)
    elif _ABSENCE.match(words) and _find_outer_not(sentence, events, i):
        return
    elif _ABSENCE.match(words) and _is_unproven(sentence, events, i):
        cancel(event)
    elif event.kind == "NEGATE" and _CHANGE_AFTER.match(sentence, event.end):
        _cancel_change(sentence, events, i)
    elif _denies_a_change(sentence, event) or _denies_the_past(sentence, event):
        cancel(event)
    elif i > 0 and sentence[events[i - 1].start : event.start] in ("not ", "never "):
        cancel(event, events[i - 1])


def _denies_a_change(sentence: str, event: Event) -> bool:
    """ "no larger than", "has not progressed", "neither increased nor decreased"."""
    if sentence[event.start : event.end] not in _PLAIN_NOT:
        return False
    since = sentence.endswith(("has ", "have ", "had ", "been "), 0, event.start)
    return bool(_COMPARED.match(sentence, event.end) or (since and _EVOLVED.match(sentence, event.end)))


def _denies_the_past(sentence: str, event: Event) -> bool:
    """ "New nodule, not seen on the prior film"."""
    longer = "longer" in sentence[event.start : event.end]
    return event.kind == "NEGATED" and not longer and _PAST.match(sentence, event.end) is not None


def _find_outer_not(sentence: str, events: list[Event], i: int) -> bool:
    """Cancel "free of", "without", "absence of" together with the "not" or "neither" before it."""
    for outer in reversed(events[:i]):
        if outer.kind in CLAUSE_ENDS:
            break
        if outer.kind in _DENIALS and sentence[outer.start : outer.end] in _PLAIN_NOT:
            if sentence.startswith("nor", outer.start):  # "neither the right nor the left"
                cancel(outer)
                continue
            cancel(outer, events[i])
            return True
    return False


def _is_unproven(sentence: str, events: list[Event], i: int) -> bool:
    """ "Absence of X cannot be confirmed": the cue behind X then doubts it."""
    for cue in events[i + 1 :]:
        if cue.kind in ("COMMA", "BREAK"):
            return False
        if cue.kind in ("NEGATED", "HEDGED", "NEGATE"):
            proof = _PROOF.search(sentence, cue.start, min(cue.end + 20, len(sentence)))
            if proof:
                cue.kind = "HEDGED"
            return proof is not None
    return False


def _cancel_change(sentence: str, events: list[Event], i: int) -> None:
    """ "No resolution of X", "lack of improvement in X": X is there."""
    change = _CHANGE_AFTER.match(sentence, events[i].end)
    end = change.end() if change else events[i].end
    inner = [event for event in events[i + 1 :] if event.start < end]
    if not any(event.kind in ("FINDING", "COMMA") and event.end <= end for event in inner):
        cancel(*(event for event in inner if event.kind != "FINDING"))
        events[i].kind = "NEUTRAL"


def _settle_verb(sentence: str, events: list[Event], i: int) -> None:
    """ "Neither X nor Y has grown", "neither is larger" deny a change."""
    if any(event.kind == "NEGATE" for event in events[max(0, i - _LONG_SUBJECT) : i]):
        deny_no_change(sentence, events, i, _EVOLVED if events[i].kind == "HAVE" else _COMPARED)


def _settle_past(sentence: str, events: list[Event], i: int) -> None:
    """ "Smoker with prior pneumonia" tells of the past, "with prior effusion, unchanged" of the film."""
    finding, after = (events[i + 1 : i + 3] + [None, None])[:2]
    events[i].kind = "WITH"
    if finding is None or finding.kind != "FINDING" or finding.start - events[i].end > _MAX_GAP:
        return
    beyond = events[i + 3] if i + 3 < len(events) else None
    ends = after is None or after.kind == "BREAK" or (after.kind == "AND" and beyond is not None)
    if after is not None and after.kind == "COMMA":
        ends = beyond is None or beyond.kind in ("FINDING", "ANATOMY", "NEGATE", "BREAK")
    if ends and (after.start if after else len(sentence)) - finding.end < 2 * _MAX_GAP:
        events[i].kind = "SEQUELA"


def _settle_neutral(sentence: str, events: list[Event], i: int) -> None:
    """ "Not of normal size", though "clear of edema, but not of consolidation"."""
    if i + 1 < len(events) and events[i + 1].kind == "NORMAL" and sentence.endswith(" of", 0, events[i].end):
        events[i].kind = "NEGATE"


_SETTLED_BY: dict[str, tuple[Settle, ...]] = {
    "RESOLVED": (_settle_direction, _settle_negation),
    "SUSPECTED": (_settle_direction, _settle_hedge),
    "HEDGED": (_settle_hedge,),
    "HEDGE": (_settle_hedge,),
    "EXCLUDE": (_settle_exclusion,),
    "NEGATE": (_settle_negation,),
    "NEGATED": (_settle_negation,),
    "DOUBT": (_settle_doubt,),
    "ACTION": (settle_action,),
    "HAVE": (_settle_verb,),
    "VERB": (_settle_verb,),
    "NEUTRAL": (_settle_neutral,),
    "PAST": (_settle_past,),
}
