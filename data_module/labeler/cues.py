"""Cues whose sense the words around them decide: double negations, "exclude", and which way a cue reaches.

"Excludes X" denies X, "to exclude X" asks for it, "does not exclude X" and "X is hard to exclude" doubt it;
"resolved effusion" reaches forward, "effusion, now resolved" back. Cues cancel each other: what has not
resolved, has partly resolved or shall be removed is there, and so is what no lung is free of.
"""

import re
from collections.abc import Callable

from data_module.labeler.events import Event

Settle = Callable[[str, list[Event], int], None]

_BEFORE_RESOLVED = frozenset(
    {"FINDING", "OR", "AND", "COMMA", "CALCIFIED", "ANATOMY", "STABLE", "ABNORMAL", "ALTERED", "VERB"}
)
_AROUND_VERB = frozenset({"NEGATE", "NEGATED", "HEDGE", "HEDGED", "DOUBT", "VERB", "HAVE", "SUSPECTED"})
_DENIALS = frozenset({"NEGATE", "NEGATED"})
_CLAUSE_ENDS = frozenset({"FINDING", "COMMA", "BREAK", "REPORTED", "OR", "WITH"})
_DOUBTED = re.compile(
    r"\b(?:not?|cannot|never|nothing|neither|nor|without|unable|inability|difficult|hard|impossible"
    r"|insufficient|inadequate|premature|limited|fail\w*)\b"
)
_PERFECT = re.compile(r"\bha(?:s|ve|d) (?:not |never |\w+ly )*$")
_DEMANDED = re.compile(r"\b(?:to|should|must) be $")
_MAX_GAP = 12  # characters between a mention and the "resolved" said of it
_BE = ("is ", "are ", "was ", "were ", "be ", "been ", "continues ", "appears ")
_NEAR_WORDS = 7  # up to the end of a cue
_WINDOW = 60  # characters around a cue that can change its sense

_RESOLUTION = re.compile(
    r"\b(?:resolution|resolving|resolved|clear(?:ing|ance|ed)|disappear(?:ance|ed)|drain(?:age|ed)"
    r"|evacuat(?:ion|ed)|gone|vanished|re expanded|reexpanded)\b"
)
_PARTLY = re.compile(
    r"\b(?:partial(?:ly)?|part|incomplete(?:ly)?|near(?:ly)?|almost|virtually|most(?:ly)?|larg(?:e|ely)"
    r"|mainly"
    r"|predominantly|minimal(?:ly)?|slight(?:ly)?|some(?:what)?|mild(?:ly)?|moderate(?:ly)?|modest(?:ly)?"
    r"|substantial(?:ly)?|considerabl[ey]|marked(?:ly)?|significant(?:ly)?|continu(?:ed|ing|es)"
    r"|gradual(?:ly)?"
    r"|slow(?:ly)?|begun|beginning|starting|ongoing|further|progressive(?:ly)?|early|subtotal|limited|little"
    r"|variable|so far)\b"
)
_PARTLY_AFTER = re.compile(
    r" (?:\w+ )?(?:partial|incomplete|in part|somewhat|slight|signific|consider|mark|substan|minim)"
    r"|,? (?:except|apart|aside|save|other than)\b"
)
_UNDONE = re.compile(
    r"\b(?:not?|nor|neither|never|without|lack|lacking|absence|yet to|fail\w*|unable|hardly|barely|await\w*"
    r"|pending|expect\w*|until|rather than|nothing|cannot|should|to be|to document|to ensure|to confirm)\b"
)
_UNDONE_AFTER = re.compile(
    r"(?: \w+){0,7}? (?:is|are|was|were|remains?|appears?|has|have) (?:\w+ ){0,2}?(?:awaited|expected|pending"
    r"|anticipated|incomplete|partial|slow|delayed|lacking|not (?:yet )?(?:complete|occurred|seen|evident"
    r"|begun))\b"
    r"| (?:on|at|in) the (?:left|right)(?: \w+)?,? (?:but|and|while|yet) (?:\w+ )?(?:not|persist|remain"
    r"|still)"
    r"|,? but not\b"
)
_REMOVAL = re.compile(r"\b(?:remov(?:al|ed)|withdraw(?:al|n)|taken out)\b")
_PLANNED = re.compile(
    r"\b(?:should|could|can|may|might|must|will|would|needs?|to be|ready|recommend\w*|consider\w*|suggest\w*"
    r"|plan\w*|advis\w*|if|when|once|until|before|prior to|pending|await\w*|anticipat\w*|request\w*"
    r"|schedul\w*"
    r"|require\w*|attempt\w*|candidate|amenable|due for|clinically|prepar\w+)\b"
)
_PLANNED_AFTER = re.compile(
    r"(?: [\w,]+){0,7}? (?:is|are|was|were|may be|should be|can be|could be|has been|being) (?:\w+ )?"
    r"(?:planned|recommended|suggested|advised|pending|considered|anticipated|scheduled|needed|indicated"
    r"|possible|requested|required|deferred|delayed|postponed|refused|declined)\b"
)
_MOVED = re.compile(
    r" (?:of [\w ]{1,40} )?(?:(?:by|approximately|about|another|at least|some) ){0,2}"
    r"(?:\d|a few|several|one|two|slightly|somewhat|partially|into|to the|back|further)"
)
_ABSENCE = re.compile(r"(?:free|clear|cleared|devoid|without|absence|lack|absent|lacking|void|spared)\b")
_PLAIN_NOT = frozenset({"no", "not", "nor", "neither", "never", "none of", "nothing", "without", "no longer"})
_CHANGE_AFTER = re.compile(
    r"(?: (?!and\b|or\b|with\b)\w+){0,4}? (?:change|increase|decrease|improvement|worsening|progression"
    r"|regression|reduction|enlargement|growth|difference|deterioration|resolution|clearing|clearance"
    r"|expansion|shrinkage|diminution|variation|response)s?"
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
_PAST = re.compile(
    r" (?:\w+ ){0,2}?(?:before|previously|earlier|yesterday|last (?:week|month|year|night|time)"
    r"|(?:on|in|at|by) (?:the |any |an? |her |his |their )?(?:\w+ )?(?:prior|previous|preceding|earlier|last"
    r"|older|old|comparison|initial|yesterday)\b)"
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


def _cancel(*events: Event) -> None:
    for event in events:
        event.kind = ""


def _clause_before(sentence: str, events: list[Event], i: int) -> tuple[str, list[Event]]:
    """The words and cues between the last finding or comma and cue `i`, with the cue's own words."""
    first = i
    while first > 0 and events[first - 1].kind not in _CLAUSE_ENDS:
        first -= 1
    start = max(events[first - 1].end if first > 0 else 0, events[i].start - _WINDOW)
    return sentence[start : events[i].end], events[first:i]


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
    following = events[i + 1] if i + 1 < len(events) else None
    if event.kind == "HEDGE" and following and following.start - event.end < _MAX_GAP:
        if following.kind == "ACTION" or _REMOVAL.search(sentence, following.start, following.end):
            _cancel(event)
        elif following.kind == "BREAK" and sentence.startswith(("placement", "insertion"), following.start):
            _cancel(following)


def _settle_doubt(sentence: str, events: list[Event], i: int) -> None:
    """ "We cannot say that there is no X": the inner negation goes."""
    for j in range(i + 1, len(events)):
        if events[j].kind == "NEGATE":
            _cancel(events[j])
        elif events[j].kind not in ("VERB", "BREAK", "HAVE"):
            return
        elif events[j].kind == "BREAK":
            _cancel(events[j])


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
    _cancel(*events[first:i])


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
    if _RESOLUTION.search(words):
        _settle_resolution(sentence, events, i)
    elif _REMOVAL.search(words):
        _settle_removal(sentence, events, i)
    elif _ABSENCE.match(words) and _find_outer_not(sentence, events, i):
        return
    elif _ABSENCE.match(words) and _is_unproven(sentence, events, i):
        _cancel(event)
    elif event.kind == "NEGATE" and _CHANGE_AFTER.match(sentence, event.end):
        _cancel_change(sentence, events, i)
    elif _denies_a_change(sentence, event) or _denies_the_past(sentence, event):
        _cancel(event)
    elif i > 0 and sentence[events[i - 1].start : event.start] in ("not ", "never "):
        _cancel(event, events[i - 1])


def _settle_resolution(sentence: str, events: list[Event], i: int) -> None:
    event = events[i]
    before, cues = _clause_before(sentence, events, i)
    own = event.end - event.start
    under_way = sentence.startswith(("clearing", "resolving"), event.start) and before[:-own].endswith(_BE)
    if _UNDONE.search(before[:-own]) or sentence.startswith(("not ", "never "), event.start):
        _cancel(event, *(cue for cue in cues if cue.kind in ("NEGATE", "NEGATED", "NEUTRAL", "HEDGE")))
    elif (
        under_way
        or _UNDONE_AFTER.match(sentence, event.end)
        or _PARTLY.search(" ".join(before.split()[-_NEAR_WORDS:]))
        or _PARTLY_AFTER.match(sentence, event.end)
    ):
        _cancel(event)
    else:
        outer = next((cue for cue in reversed(events[:i]) if cue.kind in ("NEGATE", "DOUBT")), None)
        that = " that" in sentence[outer.start : outer.end + len(" that")] if outer else False
        if outer and that and event.kind == "NEGATED":  # "no evidence that the effusion has resolved"
            _cancel(event, *([outer] if outer.kind == "NEGATE" else []))


def _settle_removal(sentence: str, events: list[Event], i: int) -> None:
    event = events[i]
    before, cues = _clause_before(sentence, events, i)
    start = max(0, event.start - _WINDOW)
    comma = max(sentence.rfind(",", start, event.start), sentence.rfind(" and ", start, event.start), start)
    planned = _PLANNED.search(sentence, comma, event.end) or _PLANNED_AFTER.match(sentence, event.end)
    moved = _MOVED.match(sentence, event.end) and "withdraw" in sentence[event.start : event.end]
    if planned or moved or _UNDONE.search(before[: event.start - event.end]):
        _cancel(event, *(cue for cue in cues if cue.kind in ("NEGATE", "NEGATED", "HEDGE")))
        _settle_action(sentence, events, i)


def _settle_action(sentence: str, events: list[Event], i: int) -> None:
    """ "Repositioning of the tube is suggested" doubts no tube."""
    for cue in events[i + 1 : i + 6]:
        if cue.kind in ("COMMA", "BREAK", "NEGATE"):
            return
        if cue.kind in ("SUSPECTED", "HEDGED", "HEDGE"):
            _cancel(cue)


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
        if outer.kind in _CLAUSE_ENDS:
            break
        if outer.kind in _DENIALS and sentence[outer.start : outer.end] in _PLAIN_NOT:
            if sentence.startswith("nor", outer.start):  # "neither the right nor the left"
                _cancel(outer)
                continue
            _cancel(outer, events[i])
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
        _cancel(events[i], *(event for event in inner if event.kind != "FINDING"))


_SETTLED_BY: dict[str, tuple[Settle, ...]] = {
    "RESOLVED": (_settle_direction, _settle_negation),
    "SUSPECTED": (_settle_direction, _settle_hedge),
    "HEDGED": (_settle_hedge,),
    "HEDGE": (_settle_hedge,),
    "EXCLUDE": (_settle_exclusion,),
    "NEGATE": (_settle_negation,),
    "NEGATED": (_settle_negation,),
    "DOUBT": (_settle_doubt,),
    "ACTION": (_settle_action,),
}
