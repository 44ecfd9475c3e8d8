"""One sentence -> which findings it asserts, and how certainly: the reach of negations and hedges.

A sentence becomes a row of events (findings, anatomy, cues, commas ...). One pass carries negation and hedge
forward to the findings they reach; cues that stand behind ("is not seen", "cannot be excluded") reach back;
anatomy and its state ("heart ... enlarged") are paired. After NegEx (Chapman et al., J Biomed Inform 2001)
and the rules of the CheXpert labeler (Irvin et al., AAAI 2019), without a parser.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.labeler.anatomy import STATES, read_anatomy
from data_module.labeler.cues import settle_cues
from data_module.labeler.events import Event, find_events
from data_module.labeler.scope import NEW_ASSERTION, runs_on, starts_assertion
from data_module.labeler.text import split_statements
from data_module.labeler.traps import MAX_PLACE, is_taken_for_granted, set_aside_traps
from data_module.labeler.vocabulary import OTHER

CACHE_SIZE = 1 << 16  # sentences repeat a lot in reports


class Mention(NamedTuple):
    """A finding (its index, or OTHER) and its certainty, its own words ("" where anatomy tells it), and what
    stands around them between two commas."""

    finding: int
    code: float
    words: str
    part: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sentence says; whether it speaks of a film at all."""

    mentions: tuple[Mention, ...]
    recognized: bool


_GONE = re.compile(r"\b(?:no longer|resolved|cleared|gone|disappeared|vanished|removed|drained)\b")
_PLEURAL = re.compile(r"\b(?:pleura|hemithora|fissur|asbest|diaphragm)")
_EFFUSION = FINDINGS.index("Pleural Effusion")
_PLEURAL_OTHER = FINDINGS.index("Pleural Other")
_FRACTURE = FINDINGS.index("Fracture")
_DEVICES = FINDINGS.index("Support Devices")
_LASTING = ((_FRACTURE,), (_DEVICES,), (OTHER,))  # still seen when it is of the past
_NO_CHANGE = re.compile(r"(?:has |have |is |are |in the )?(?:no|not|without|lack|absence|failure)\b")
_WAS_SUSPECTED = re.compile(r"(?:was |were )?(?:suspected|questioned|suggested|questionable|possible)")
_TODAY = re.compile(r" (?:now|today|currently|at present|on (?:today|the (?:current|present)|this)\b)")
_LINK = re.compile(
    r"(?:[ ,]|but|and|however|it|this|they|these|which|has|have|is|are|since|now|then|subsequently|currently"
    r"|yet|that)*"
)
_PRESENT_TENSE = frozenset({"is", "are", "appears", "appear", "remains", "remain", "seems", "has", "have"})
_WINDOW = 60  # characters
_OF_PLACE = re.compile(r"\b(?:in|of|at|on|within|along|over|around|behind)\b")
_NOUNS = frozenset({"FLUID", "PLAQUE", "SEQUELA", "ONE"})
_LIST_PARTS = frozenset(
    {
        "FINDING",
        "OR",
        "AND",
        "COMMA",
        "CALCIFIED",
        "ANATOMY",
        "STABLE",
        "ABNORMAL",
        "ALTERED",
        "PLACE",
        "REPORTED",
    }
)


@lru_cache(maxsize=CACHE_SIZE)
def read_sentence(sentence: str) -> Statement:
    """The findings one sentence (from `text.split_report`) mentions, each with its certainty."""
    statements = [_read_statement(statement) for statement in split_statements(sentence)]
    if len(statements) == 1:
        return statements[0]
    mentions = tuple(mention for statement in statements for mention in statement.mentions)
    return Statement(mentions, any(statement.recognized for statement in statements))


def _read_statement(sentence: str) -> Statement:
    events = find_events(sentence)
    kinds = {event.kind for event in events}
    if not kinds.isdisjoint(_NOUNS):
        _settle_nouns(sentence, events)
    events = settle_cues(sentence, events)
    _reach_forward(sentence, events)
    _reach_back(sentence, events)
    if "OR" in kinds:
        _hedge_alternatives(sentence, events)
    set_aside_traps(sentence, events)
    mentions = [Mention(*mention, "", sentence) for mention in read_anatomy(sentence, events)]
    of_the_film = bool(mentions)
    for event in events:
        if event.kind == "FINDING" and event.code is not None and event.findings:
            words, part = sentence[event.start : event.end], _part_of(sentence, event)
            mentions += [Mention(finding, event.code, words, part) for finding in event.findings]
            of_the_film |= not event.past
    return Statement(tuple(mentions), of_the_film or _describes_film(events))


def _part_of(sentence: str, event: Event) -> str:
    start = max(sentence.rfind(sign, 0, event.start) for sign in ",;") + 1
    ends = [end for sign in ",;" if (end := sentence.find(sign, event.end)) >= 0]
    return sentence[start : min(ends, default=len(sentence))]


def _describes_film(events: list[Event]) -> bool:
    """Whether a statement without a finding says how the film looks.

    "No acute process" and "stable heart" do; that a film was taken or that findings were told does not.
    """
    kinds = {event.kind for event in events}
    if any(event.kind in ("NORMAL", "REPORTED") and event.code is not None for event in events):
        return any(
            event.code == (POSITIVE if event.kind == "NORMAL" else NEGATIVE)
            for event in events
            if event.kind in ("NORMAL", "REPORTED")
        )
    organ = any(event.kind == "ANATOMY" and event.region != "film" for event in events)
    return organ and not kinds.isdisjoint(("STABLE", "ABNORMAL", "ALTERED"))


def _settle_nouns(sentence: str, events: list[Event]) -> None:
    """Fluid and plaques are of the pleura where a statement speaks of it; "a small one" is what was named."""
    named: tuple[int, ...] = ()
    for i, event in enumerate(events):
        if event.kind in ("FLUID", "PLAQUE"):
            pleural = any(other.region == "pleura" for other in events) or _PLEURAL.search(sentence)
            finding = _EFFUSION if event.kind == "FLUID" else _PLEURAL_OTHER
            event.kind, event.findings = ("FINDING", (finding,)) if pleural else ("", ())
        elif event.kind == "SEQUELA" and not _names_finding(sentence, events, i):
            event.kind = ""
        elif event.kind == "ONE":
            told = named and (i == 0 or events[i - 1].kind not in ("VERB", "FINDING"))
            event.kind, event.findings = ("FINDING", named) if told else ("", ())
        elif (
            event.kind == "ANATOMY"
            and event.region != "film"
            and not _OF_PLACE.search(sentence, events[i - 1].end if i else 0, event.start)
        ):
            named = ()  # "... lung is clear, the left is small" names no finding
        named = event.findings or named


def _names_finding(sentence: str, events: list[Event], i: int) -> bool:
    """Whether "from prior ..." is followed by a finding, and not by a study."""
    following = events[i + 1] if i + 1 < len(events) else None
    return bool(following and following.kind == "FINDING" and following.start - events[i].end < MAX_PLACE)


def _reach_forward(sentence: str, events: list[Event]) -> None:
    """Give every finding and state the certainty of the cues before it whose reach has not ended."""
    negated = hedged = verb_since = once = listed = reached = unsaid = False
    for i, event in enumerate(events):
        kind = event.kind
        if kind in ("NEGATE", "HISTORY", "SEQUELA"):
            negated, hedged, verb_since, once = True, False, False, kind != "NEGATE"
            listed = reached = False
        elif kind in ("HEDGE", "DIFFERENTIAL"):
            hedged, listed, reached = True, kind == "DIFFERENTIAL", False
        elif kind == "DOUBT":
            negated, hedged, listed = False, True, False
        elif kind == "BREAK" or (kind == "RELATIVE" and reached):
            negated = hedged = unsaid = False
        elif kind == "UNSAID":
            unsaid = True
        elif kind == "VERB":
            verb_since = True
        elif kind in ("COMMA", "AND"):
            goes_on = listed or (
                kind == "AND" and not (negated or reached)
            )  # "possible left and right effusions"
            if (negated or hedged) and not goes_on and starts_assertion(sentence, events, i, verb_since):
                negated = hedged = False
        elif kind in ("WITH", "HAVE"):
            hedged = False
            after_comma = i > 0 and events[i - 1].kind in ("COMMA", "AND")
            if after_comma or (
                sentence.startswith("with", event.start) and NEW_ASSERTION.match(sentence, event.end)
            ):
                negated = False
        elif kind == "REPORTED":
            event.code = NEGATIVE if negated else POSITIVE
        elif kind in ("FINDING", "CALCIFIED", "ANATOMY") or kind in STATES:
            if negated and reached and runs_on(sentence, events, i):
                negated = hedged = False
            if kind == "ANATOMY":
                continue
            given = i > 0 and is_taken_for_granted(sentence, events[i - 1], event)
            befell = negated and i > 0 and events[i - 1].kind == "TROUBLE"
            given = given or (befell and event.start - events[i - 1].end < MAX_PLACE)
            event.code = POSITIVE if given else NEGATIVE if negated else UNCERTAIN if hedged else POSITIVE
            if unsaid:
                event.code = None
            elif once and negated and event.kind == "FINDING":
                sequela = events[i - 1].kind == "SEQUELA" and event.findings in _LASTING
                event.code, event.past = (POSITIVE, False) if sequela else (NEGATIVE, True)
            negated, reached = negated and not once, True


def _reach_back(sentence: str, events: list[Event]) -> None:
    """Cues behind a mention ("is not seen", "cannot be excluded") change what stands before."""
    for i, event in enumerate(events):
        if event.kind not in ("NEGATED", "HEDGED"):
            continue
        crossed_or = False
        last = _find_referent(sentence, events, i)
        for j in range(last, -1, -1):
            before = events[j]
            if before.kind == "VERB" and j == last:  # "edema is almost resolved"
                continue
            if (
                before.kind == "HEDGED"
                and event.kind == "NEGATED"
                and _WAS_SUSPECTED.fullmatch(sentence, before.start, before.end)
            ):  # "the nodule suspected on the old film is not seen"
                continue
            if before.kind not in _LIST_PARTS or (before.kind == "COMMA" and not crossed_or and j < last):
                break
            crossed_or |= before.kind in ("OR", "AND")
            if before.kind in ("FINDING", "REPORTED") and event.kind == "NEGATED":
                before.code, before.past = NEGATIVE, False
            elif before.kind == "FINDING" and before.code == POSITIVE:
                before.code = UNCERTAIN


def _find_referent(sentence: str, events: list[Event], i: int) -> int:
    """The last event that cue `i` may reach back to.

    Before "which" for "an effusion, which has resolved"; over what was on the earlier film for "an effusion
    was seen, but has resolved".
    """
    event = events[i]
    of_today = _GONE.search(sentence, event.start, event.end) or _TODAY.match(sentence, event.end)
    if of_today:
        for j in range(i - 1, -1, -1):
            if events[j].kind == "RELATIVE":
                return j - 1
            if events[j].kind in ("FINDING", "COMMA", "BREAK", "AND", "OR"):
                break
    none = sentence.startswith("none ", event.start)
    if event.kind == "NEGATED" and (of_today or none):
        return _skip_the_past(sentence, events, i)
    return i - 1


def _skip_the_past(sentence: str, events: list[Event], i: int) -> int:
    j = i - 1
    while j > 0 and events[j].kind in ("VERB", "HAVE"):
        j -= 1
    if (
        j < 1
        or events[j].kind not in ("COMMA", "BREAK", "AND")
        or events[i].start - events[j].start > _WINDOW
    ):
        return i - 1
    if not _LINK.fullmatch(sentence, events[j].start, events[i].start):
        return i - 1
    for k in range(j - 1, -1, -1):
        words = sentence[events[k].start : events[k].end]
        if events[k].kind == "FINDING":
            return k
        if events[k].kind not in ("VERB", "HAVE", "HEDGED", "ANATOMY") or words in _PRESENT_TENSE:
            break
    return i - 1


def _hedge_alternatives(sentence: str, events: list[Event]) -> None:
    """ "X versus Y", "X or Y": neither is certain, unless both are denied or a change in both is."""
    for i, event in enumerate(events):
        if event.kind != "OR" or _is_unchanged(sentence, events, i):
            continue
        for step in (-1, 1):
            j = i + step
            while 0 <= j < len(events) and events[j].kind in ("ANATOMY", "CALCIFIED", "STABLE"):
                j += step
            if 0 <= j < len(events) and events[j].kind == "FINDING" and events[j].code == POSITIVE:
                events[j].code = UNCERTAIN


def _is_unchanged(sentence: str, events: list[Event], i: int) -> bool:
    """Whether a change is denied of what this "or" joins: "no change in X or Y", "X or Y has not changed"."""
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(events) and events[j].kind in _LIST_PARTS:
            j += step
        if (
            0 <= j < len(events)
            and events[j].kind == "NEUTRAL"
            and _NO_CHANGE.match(sentence, events[j].start)
        ):
            return sentence.startswith("or", events[i].start)
    return False
