"""What is said to be gone, and is not: partly, not yet, some of it, or only to be removed.

"Has resolved" denies a finding; "has partly resolved", "some of it has resolved", "neither has resolved" and
"shall be removed" do not.
"""

import re

from data_module.labeler.events import Event, cancel

RESOLUTION = re.compile(
    r"\b(?:resolution|resolving|resolved|clear(?:ing|ance|ed)|disappear(?:ance|ed)|drain(?:age|ed)"
    r"|evacuat(?:ion|ed)|gone|vanished|dissipated|abated|subsided|re expanded|reexpanded)\b"
)
REMOVAL = re.compile(
    r"\b(?:remov(?:al|ed)|withdraw(?:al|n)|taken out|(?:is|are|was|were|been|be) out|pulled"
    r"|discontinu(?:ation|ed)|explant(?:ation|ed)|extract(?:ion|ed)|retriev(?:al|ed))\b"
)
# words that end the clause a cue stands in
CLAUSE_ENDS = frozenset({"FINDING", "COMMA", "BREAK", "REPORTED", "OR", "WITH"})
_BE = ("is ", "are ", "was ", "were ", "be ", "been ", "continues ", "appears ")
_NEAR_WORDS = 7  # up to the end of a cue
_WINDOW = 60  # characters around a cue that can change its sense
_SOME = r"(?:some|part|parts|portions?|many|much|most|several|half|(?:the )?(?:majority|bulk))"

_PARTLY = re.compile(
    r"\b(?:partial(?:ly)?|part|incomplete(?:ly)?|near(?:ly)?|almost|virtually|most(?:ly)?|larg(?:e|ely)"
    r"|mainly"
    r"|predominantly|minimal(?:ly)?|slight(?:ly)?|some(?:what)?|mild(?:ly)?|moderate(?:ly)?|modest(?:ly)?"
    r"|substantial(?:ly)?|considerabl[ey]|marked(?:ly)?|significant(?:ly)?|continu(?:ed|ing|es)"
    r"|gradual(?:ly)?"
    r"|slow(?:ly)?|begun|beginning|starting|ongoing|further|progressive(?:ly)?|early|subtotal|limited|little"
    r"|variable|so far|not (?:yet )?(?:total|complete|full|entire)(?:ly)?)\b"
)
_PARTLY_AFTER = re.compile(
    r" (?:\w+ )?(?:partial|incomplete|in part|somewhat|slight|signific|consider|mark|substan|minim)"
    r"|,? (?:except|apart|aside|save|other than)\b"
    rf"| (?:of )?(?:the )?(?:{_SOME}|(?:one|two|three|a few) of)\b"
)
_UNDONE = re.compile(
    r"\b(?:not?|nor|neither|never|without|lack|lacking|absence|yet to|fail\w*|unable|hardly|barely|await\w*"
    r"|pending|expect\w*|until|rather than|nothing|cannot|should|to be|to document|to ensure|to confirm)\b"
)
_UNDONE_AFTER = re.compile(
    r"(?: \w+){0,7}? (?:is|are|was|were|remains?|appears?|has|have) (?:\w+ ){0,2}?(?:awaited|expected|pending"
    r"|anticipated|incomplete|partial|slow|delayed|lacking|not (?:yet )?(?:complete|occurred|seen|evident"
    r"|begun))\b"
    r"| (?:on|at|in|from) (?:the )?\w+(?: \w+){0,2}?,? (?:but|and|while|yet) (?:\w+ )?(?:not|persist|remain"
    r"|still|in part|partly|partially|incompletely)\b"
    r"|,? but not\b"
)
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
_ELSEWHERE = re.compile(r" (?:of|up|down|on to|from)\b")  # "out of position", "gone from small to large"
# "Some of the nodules have resolved", "bilateral effusions, of which the left has resolved"
_OF_SOME = re.compile(
    rf"\b(?:(?:{_SOME}|(?:one|two|three|either|a few|all but \w+|not (?:all|every\w*)|only \w+) of)\b"
    r"|not (?:all|every|each)\b|of which\b|(?<!other )one ?$)"
)
_SUBJECT = frozenset(
    {"FINDING", "OR", "AND", "COMMA", "CALCIFIED", "ANATOMY", "STABLE", "ABNORMAL", "ALTERED"}
)
_MAX_SUBJECT = 30  # events; no list is longer


def settle_resolution(sentence: str, events: list[Event], i: int) -> None:
    """Cancel "resolved" where something is left of what it tells of."""
    event = events[i]
    before, cues = _clause_before(sentence, events, i)
    own = event.end - event.start
    under_way = sentence.startswith(("clearing", "resolving"), event.start) and before[:-own].endswith(_BE)
    if _UNDONE.search(before[:-own]) or sentence.startswith(("not ", "never "), event.start):
        cancel(event, *(cue for cue in cues if cue.kind in ("NEGATE", "NEGATED", "NEUTRAL", "HEDGE")))
    elif (
        under_way
        or _UNDONE_AFTER.match(sentence, event.end)
        or _PARTLY.search(" ".join(before.split()[-_NEAR_WORDS:]))
        or _PARTLY_AFTER.match(sentence, event.end)
        or (sentence.startswith("gone", event.end - 4) and _ELSEWHERE.match(sentence, event.end))
    ):
        cancel(event)
    else:
        outer = next((cue for cue in reversed(events[:i]) if cue.kind in ("NEGATE", "DOUBT")), None)
        that = " that" in sentence[outer.start : outer.end + len(" that")] if outer else False
        if outer and that and event.kind == "NEGATED":  # "no evidence that the effusion has resolved"
            cancel(event, *([outer] if outer.kind == "NEGATE" else []))


def settle_removal(sentence: str, events: list[Event], i: int) -> None:
    """Cancel "removed" where a device shall be removed, or was moved only."""
    event = events[i]
    before, cues = _clause_before(sentence, events, i)
    words = sentence[event.start : event.end]
    start = max(0, event.start - _WINDOW)
    comma = max(sentence.rfind(",", start, event.start), sentence.rfind(" and ", start, event.start), start)
    planned = _PLANNED.search(sentence, comma, event.end) or _PLANNED_AFTER.match(sentence, event.end)
    moved = _MOVED.match(sentence, event.end) and ("withdraw" in words or "pulled" in words)
    moved = moved or (
        words.endswith(" out") and "taken" not in words and _ELSEWHERE.match(sentence, event.end)
    )
    if planned or moved or _UNDONE.search(before[: event.start - event.end]):
        cancel(event, *(cue for cue in cues if cue.kind in ("NEGATE", "NEGATED", "HEDGE")))
        settle_action(sentence, events, i)


def settle_action(sentence: str, events: list[Event], i: int) -> None:
    """ "Repositioning of the tube is suggested" doubts no tube."""
    for cue in events[i + 1 : i + 6]:
        if cue.kind in ("COMMA", "BREAK", "NEGATE"):
            return
        if cue.kind in ("SUSPECTED", "HEDGED", "HEDGE"):
            cancel(cue)


def tells_of_none_or_some(sentence: str, events: list[Event], i: int) -> bool:
    """Cancel cue `i` behind its findings where it is said of some of them, or with "neither", of none."""
    event = events[i]
    outer = _find_denied_subject(sentence, events, i)
    if outer:
        cancel(event, *outer)
        return True
    start = _find_subject(sentence, events, i)
    if _OF_SOME.search(sentence, start, event.start) is None:
        return False
    cancel(event, *(before for before in events[:i] if before.kind == "NEGATE" and before.start >= start))
    return True


def _find_subject(sentence: str, events: list[Event], i: int) -> int:
    """Where the words begin that name what cue `i` tells of."""
    first = i
    while first > 0 and events[first - 1].kind in ("VERB", "HAVE"):
        first -= 1
    while first > 0 and i - first < _MAX_SUBJECT:
        before = events[first - 1]
        joined = before.kind in ("AND", "OR") and first > 1 and before.start - events[first - 2].end <= 1
        if not joined and before.kind not in ("FINDING", "ANATOMY", "CALCIFIED", "STABLE"):
            break
        first -= 1
    if first > 0 and events[first - 1].kind in ("NEGATE", "NEUTRAL"):  # "not all of the"
        first -= 1
        start = events[first].start
    else:
        start = events[first - 1].end if first > 0 else 0
    if sentence.startswith((" of ", "of "), start):  # "much, but not all, of the effusion"
        start = max(0, start - len("not all, "))
    relative = sentence.rfind("of which", max(0, start - len(" of which ")), events[i].start)
    return max(0, relative if relative >= 0 else start, events[i].start - 2 * _WINDOW)


def _find_denied_subject(sentence: str, events: list[Event], i: int) -> list[Event]:
    """The negations of "neither X nor Y has cleared", "no X has cleared", "none of the X has cleared"."""
    found: list[Event] = []
    commas = ands = False
    told = events[i].kind in ("VERB", "HAVE") or " " in sentence[events[i].start : events[i].end]
    last = ""
    for before in reversed(events[max(0, i - _MAX_SUBJECT) : i]):
        words = sentence[before.start : before.end]
        if before.kind in ("VERB", "HAVE") and not last:
            told = True
            continue
        if before.kind == "NEGATE" and words == "nor":
            found.append(before)
        elif before.kind == "NEGATE" and (
            words in ("neither", "none of") or (words == "no" and told and not (commas or ands))
        ):
            return [*found, before]
        elif before.kind not in _SUBJECT or (before.kind == last == "FINDING"):
            break
        commas |= before.kind == "COMMA"
        ands |= before.kind == "AND"
        last = before.kind
    return found


def deny_no_change(sentence: str, events: list[Event], i: int, changes: re.Pattern[str]) -> bool:
    """Cancel the negations of "neither X nor Y has changed", whose verb is `events[i]`."""
    if not changes.match(sentence, events[i].end):
        return False
    outer = _find_denied_subject(sentence, events, i)
    cancel(*outer)
    return bool(outer)


def _clause_before(sentence: str, events: list[Event], i: int) -> tuple[str, list[Event]]:
    """The words and cues between the last finding or comma and cue `i`, with the cue's own words."""
    first = i
    while first > 0 and events[first - 1].kind not in CLAUSE_ENDS:
        first -= 1
    start = max(events[first - 1].end if first > 0 else 0, events[i].start - _WINDOW)
    return sentence[start : events[i].end], events[first:i]
