"""One sentence -> which findings it asserts, and how certainly: the reach of negations and hedges.

A sentence becomes a row of events (findings, anatomy, cues, commas ...). One pass carries negation and hedge
forward to the findings they reach; cues that stand behind ("is not seen", "cannot be excluded") reach back;
anatomy and its state ("heart ... enlarged") are paired. After NegEx (Chapman et al., J Biomed Inform 2001)
and the rules of the CheXpert labeler (Irvin et al., AAAI 2019), without a parser.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.labeler.cues import settle_cues
from data_module.labeler.events import Event, find_events
from data_module.labeler.vocabulary import ANATOMY_MEANING, OTHER

CACHE_SIZE = 1 << 16  # sentences repeat a lot in reports


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sentence says: (finding index or OTHER, certainty) pairs; whether it speaks of a film at all."""

    mentions: tuple[tuple[int, float], ...]
    recognised: bool


_LESION = FINDINGS.index("Lung Lesion")
_IN_LUNG = frozenset(FINDINGS.index(name) for name in ("Lung Lesion", "Lung Opacity", "Atelectasis"))
_PLACE_OUTSIDE_LUNG = re.compile(
    r"(?: \w+){0,6}? (?:in|of|within|involving|at) (?:the |a )?(?:\w+ ){0,3}?"
    r"(?:vertebra\w*|humeral head|spine|bones?|ribs?|humer\w+|clavicle|scapula|sternum|breasts?|abdomen|liver"
    r"|kidney|thyroid|axilla\w*|soft tissues?|t\d+|l\d+)\b"
)
_NEW_ASSERTION = re.compile(
    r"\s*(?:and |a |an |the |some |also )*(?:mild|minimal|moderate|severe|small|tiny|trace|subtle|slight"
    r"|faint|stable|unchanged|persistent|new|increas|worsen|improv|decreas|chronic|old|healed|left|right"
    r"|bilateral|bibasilar|status post|prominent|enlarged|borderline|normal|patchy|streaky|low lung|possibl"
    r"|probabl|likely|question|suspect|may |known|multiple|several|few|scattered|interval|extensive"
    r"|degenerative|calcified|previously|preexisting|residual)"
)
_SEEN = re.compile(
    r" (?:\w+ly |clearly |definitely )?(?:seen|identified|visuali[sz]ed|appreciated"
    r"|demonstrated|detected|found|observed|visible|apparent|suspected|shown)"
)
_LINKS = {
    *("", "of the", "of", "in the", "size of the", "appearing", "central", "bilateral", "left", "right"),
}
_MAX_PLACE = 20  # characters of adjectives between "behind the" and the finding
_STATES = frozenset({"NORMAL", "ABNORMAL", "DOUBTFUL"})
_LIST_PARTS = frozenset(
    {"FINDING", "OR", "AND", "COMMA", "CALCIFIED", "ANATOMY", "STABLE", "ABNORMAL", "PLACE"}
)


@lru_cache(maxsize=CACHE_SIZE)
def read_sentence(sentence: str) -> Statement:
    """The findings one sentence (from `text.split_sentences`) mentions, each with its certainty."""
    events = settle_cues(sentence, find_events(sentence))
    _reach_forward(sentence, events)
    _reach_back(events)
    _hedge_alternatives(events)
    _set_aside_traps(sentence, events)
    anatomy = _read_anatomy(sentence, events)
    mentions = [
        (finding, event.code)
        for event in events
        if event.kind == "FINDING" and event.code is not None
        for finding in event.findings
    ]
    mentions += anatomy
    recognised = any(event.kind in ("FINDING", "ANATOMY", "REPORTED", "NORMAL") for event in events)
    return Statement(tuple(mentions), recognised)


def _reach_forward(sentence: str, events: list[Event]) -> None:
    """Give every finding and state the certainty of the cues before it whose reach has not ended."""
    negated = hedged = verb_since = once = listed = reached = False
    for i, event in enumerate(events):
        kind = event.kind
        if kind in ("NEGATE", "HISTORY"):
            negated, hedged, verb_since, once = True, False, False, kind == "HISTORY"
            listed = reached = False
        elif kind in ("HEDGE", "DIFFERENTIAL"):
            hedged, listed, reached = True, kind == "DIFFERENTIAL", False
        elif kind == "DOUBT":
            negated, hedged, listed = False, True, False
        elif kind == "BREAK":
            negated = hedged = False
        elif kind == "VERB":
            verb_since = True
        elif kind in ("COMMA", "AND"):
            goes_on = listed or (
                kind == "AND" and not (negated or reached)
            )  # "possible left and right effusions"
            if (negated or hedged) and not goes_on and _starts_assertion(sentence, events, i, verb_since):
                negated = hedged = False
        elif kind in ("WITH", "HAVE"):
            hedged = False
            after_comma = i > 0 and events[i - 1].kind in ("COMMA", "AND")
            if after_comma or (
                sentence.startswith("with", event.start) and _NEW_ASSERTION.match(sentence, event.end)
            ):
                negated = False
        elif kind in ("FINDING", "CALCIFIED") or kind in _STATES:
            given = i > 0 and events[i - 1].kind == "PLACE" and event.start - events[i - 1].end < _MAX_PLACE
            event.code = POSITIVE if given else NEGATIVE if negated else UNCERTAIN if hedged else POSITIVE
            negated, reached = negated and not once, True


def _starts_assertion(sentence: str, events: list[Event], i: int, verb_since: bool) -> bool:
    """Whether after the comma or "and" `events[i]` something new is asserted, and not a list goes on."""
    following = events[i + 1] if i + 1 < len(events) else None
    if following is None or following.kind in ("OR", "NEGATE", "AND"):
        return False
    if verb_since:
        return True
    list_goes_on = False
    for j in range(i + 1, len(events)):
        event = events[j]
        if event.kind in ("VERB", "HAVE"):
            if not _SEEN.match(sentence, event.end):
                return not list_goes_on
            break
        if event.kind in ("BREAK", "NEGATE", "NEGATED", "HEDGED", "WITH"):
            break
        if event.kind == "OR":
            list_goes_on = True
    return not list_goes_on and _NEW_ASSERTION.match(sentence, events[i].end) is not None


def _reach_back(events: list[Event]) -> None:
    """Cues behind a mention ("is not seen", "cannot be excluded") change what stands before."""
    for i, event in enumerate(events):
        if event.kind not in ("NEGATED", "HEDGED"):
            continue
        crossed_or = False
        for j in range(i - 1, -1, -1):
            before = events[j]
            if before.kind == "VERB" and j == i - 1:  # "edema is almost resolved"
                continue
            if before.kind not in _LIST_PARTS or (before.kind == "COMMA" and not crossed_or and j < i - 1):
                break
            crossed_or |= before.kind in ("OR", "AND")
            if before.kind == "FINDING" and event.kind == "NEGATED":
                before.code = NEGATIVE
            elif before.kind == "FINDING" and before.code == POSITIVE:
                before.code = UNCERTAIN


def _hedge_alternatives(events: list[Event]) -> None:
    """ "X versus Y", "X or Y": neither is certain, unless both are denied."""
    for i, event in enumerate(events):
        if event.kind != "OR":
            continue
        for step in (-1, 1):
            j = i + step
            while 0 <= j < len(events) and events[j].kind in ("ANATOMY", "CALCIFIED", "STABLE"):
                j += step
            if 0 <= j < len(events) and events[j].kind == "FINDING" and events[j].code == POSITIVE:
                events[j].code = UNCERTAIN


def _set_aside_traps(sentence: str, events: list[Event]) -> None:
    """Calcified nodules are granulomas, not CheXpert lesions; an opacity of a bone is not in the lung."""
    for i, event in enumerate(events):
        if event.kind == "CALCIFIED":
            event.kind, event.findings = "FINDING", (OTHER,)
            for other in events[max(i - 2, 0) : i + 3]:
                if other.findings == (_LESION,) and abs(other.start - event.end) < 40:
                    other.findings = (OTHER,)
        elif event.findings == (OTHER,) and event.code == POSITIVE and "granulom" in sentence:
            for other in events:  # a nodule that the sentence explains as a granuloma
                if other.findings == (_LESION,) and other.code == POSITIVE:
                    other.findings = (OTHER,)
        elif not _IN_LUNG.isdisjoint(event.findings) and _PLACE_OUTSIDE_LUNG.match(sentence, event.end):
            event.findings = (OTHER,)


def _read_anatomy(sentence: str, events: list[Event]) -> list[tuple[int, float]]:
    """Pair anatomy with its state, before ("normal heart size") or behind ("heart is enlarged")."""
    mentions: list[tuple[int, float]] = []
    waiting: list[Event] = []
    attribute: Event | None = None
    for i, event in enumerate(events):
        if event.kind == "ANATOMY":
            if attribute is not None:
                mentions += _mean(event, attribute)
            else:
                waiting.append(event)
        elif event.kind in _STATES:
            following = events[i + 1] if i + 1 < len(events) else None
            adjacent = following is not None and _is_adjacent(sentence, event, following)
            opens = not waiting or events[i - 1].kind in ("COMMA", "AND", "WITH", "HAVE", "BREAK")
            if adjacent and following.kind == "FINDING":
                if event.kind == "NORMAL" and event.code == POSITIVE:
                    following.code = NEGATIVE
                continue
            if adjacent and following.kind in _STATES:
                continue
            if adjacent and following.kind == "ANATOMY" and opens:
                attribute, waiting = event, []
                continue
            if event.kind == "NORMAL" and event.code == POSITIVE:
                _deny_before(events, i)
            for region in waiting:
                mentions += _mean(region, event)
            attribute, waiting = None, []
        elif event.kind in ("BREAK", "WITH", "HAVE"):
            attribute = None
            if i + 1 == len(events) or events[i + 1].kind not in _STATES:  # "hyperinflated but clear"
                waiting = []
        elif event.kind == "COMMA" and attribute is not None and attribute.kind != "NORMAL":
            attribute = None
    return mentions


def _deny_before(events: list[Event], i: int) -> None:
    """ "interstitial markings are normal": a normal state with a verb denies the finding before it."""
    if i >= 2 and events[i - 1].kind == "VERB" and events[i - 2].kind == "FINDING":
        events[i - 2].code = NEGATIVE


def _is_adjacent(sentence: str, event: Event, following: Event) -> bool:
    return sentence[event.end : following.start].strip() in _LINKS


def _mean(region: Event, state: Event) -> list[tuple[int, float]]:
    """What `state`, with its own certainty, says about the findings of `region`."""
    asserted, denied = ANATOMY_MEANING[region.region]
    if state.kind == "NORMAL":
        if state.code == NEGATIVE:  # "not normal" says nothing certain
            return []
        code = NEGATIVE if state.code == POSITIVE else UNCERTAIN
        return [(FINDINGS.index(name), code) for name in denied]
    code = UNCERTAIN if state.kind == "DOUBTFUL" and state.code == POSITIVE else state.code
    if not asserted and region.region != "lungs":
        return [(OTHER, code)]
    return [(FINDINGS.index(name), code) for name in asserted]
