"""Findings that are none, or none of the film's: of a granuloma, a bone, a device, or taken for granted."""

import re

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE
from data_module.labeler.events import Event
from data_module.labeler.vocabulary import OTHER

_FRACTURE = FINDINGS.index("Fracture")
_DEVICES = FINDINGS.index("Support Devices")
_LONG_AGO = re.compile(
    r" (?:last (?:week|month|year)|in the past|(?:\w+ )?(?:months|years) ago|in (?:19|20)\d\d"
    r"|(?:as|when) a (?:child|infant|baby|teenager|young \w+))\b"
)
_PLACE_OUTSIDE_LUNG = re.compile(
    r"(?: \w+){0,6}? (?:in|of|within|involving|at) (?:the |a )?(?:\w+ ){0,3}?"
    r"(?:vertebra\w*|humeral head|spine|bones?|ribs?|humer\w+|clavicle|scapula|sternum|breasts?|abdomen|liver"
    r"|kidney|thyroid|axilla\w*|soft tissues?|subcutaneous|skin|legs?|ankles?|limbs?|extremit\w+|t\d+|l\d+)\b"
)
_TIP = re.compile(r"\b(?:tip|end|course|side ?hole|proximal part)s? of (?:the |an? )?$")  # of what is there
# between a device and a "fracture" that is its own
_DEVICE_SHOWS = re.compile(
    r"(?:[ ]|shows?|demonstrates?|has|have|is|are|remains?|intact|with|without|no|any|evidence|signs?|of"
    r"|visible|definite|tips?)*"
)
_IN_LUNG = frozenset(FINDINGS.index(name) for name in ("Lung Lesion", "Lung Opacity", "Atelectasis", "Edema"))
_LESION = FINDINGS.index("Lung Lesion")
MAX_PLACE = 20  # characters of adjectives between "behind the" and the finding
_WINDOW = 60  # characters
# between what lies in a finding and that finding
_INSIDE = re.compile(r" (?:or \w+ )?(?:of|in|within|along) (?:the|this|that|these|those|a) (?:\w+ ){0,3}?")
# behind a device: what befell it
_TROUBLE = re.compile(
    r" (?:tip )?(?:fractur|break|breach|kink|malposition|migrat|dislodg|displace|disconnect|discontinuit"
    r"|disrupt|complicat|leak|failure|fail|loosen|malfunction|abnormalit|problem)"
)


def is_taken_for_granted(sentence: str, before: Event, event: Event) -> bool:
    """ "No nodule behind the effusion", "no cavity in the consolidation", "no catheter fracture"."""
    if before.kind == "PLACE":
        return event.start - before.end < MAX_PLACE
    if event.findings == (_DEVICES,) and (
        _TROUBLE.match(sentence, event.end) or _TROUBLE.search(sentence, event.start, event.end)
    ):
        return True
    return before.kind == event.kind == "FINDING" and bool(
        _INSIDE.fullmatch(sentence, before.end, event.start)
    )


def set_aside_traps(sentence: str, events: list[Event]) -> None:
    """Calcified nodules are granulomas, not CheXpert lesions; an opacity of a bone is not in the lung."""
    for i, event in enumerate(events):
        if event.kind == "CALCIFIED":
            event.kind, event.findings = "FINDING", (OTHER,)
            for other in events[max(i - 2, 0) : i + 3]:
                if other.findings == (_LESION,) and abs(other.start - event.end) < 40:
                    other.findings = (OTHER,)
        elif not event.findings:
            continue
        elif event.findings == (OTHER,) and event.code == POSITIVE and "granulom" in sentence:
            for other in events:  # a nodule that the sentence explains as a granuloma
                if other.findings == (_LESION,) and other.code == POSITIVE:
                    other.findings = (OTHER,)
        elif _LONG_AGO.match(sentence, event.end) and event.findings != (_FRACTURE,):
            event.past |= event.code != NEGATIVE
            event.code = NEGATIVE
        elif (
            event.findings == (_DEVICES,) and event.code == NEGATIVE and _TIP.search(sentence, 0, event.start)
        ):
            event.code = POSITIVE
        elif event.findings == (_FRACTURE,) and _is_of_a_device(sentence, events, i):
            event.findings = ()
        elif not _IN_LUNG.isdisjoint(event.findings) and _PLACE_OUTSIDE_LUNG.match(sentence, event.end):
            event.findings = (OTHER,)


def _is_of_a_device(sentence: str, events: list[Event], i: int) -> bool:
    """ "No lead fracture", "the port shows no fracture", "fracture of the wire" tell of no bone."""
    event = events[i]
    following = events[i + 1] if i + 1 < len(events) else event
    if following.findings == (_DEVICES,) and _INSIDE.fullmatch(sentence, event.end, following.start):
        return True
    device = next((before for before in reversed(events[:i]) if before.kind == "FINDING"), None)
    return (
        device is not None
        and device.findings == (_DEVICES,)
        and sentence.startswith("fracture", event.start)
        and event.start - device.end < _WINDOW
        and _DEVICE_SHOWS.fullmatch(sentence, device.end, event.start) is not None
        and not sentence.startswith((" of", " in"), event.end)
    )
