"""Where the reach of a negation ends: whether a list of denied findings goes on or something is asserted."""

import re

from data_module.findings import FINDINGS
from data_module.labeler.events import Event

# Words that begin what is asserted, and no further item of what is denied; "focal", "acute", "large" do both.
NEW_ASSERTION = re.compile(
    r"\s*(?:and |a |an |the |some |also )*(?:mild|minimal|minor|minute|moderate|modest|severe|small|tiny"
    r"|trace|subtle|slight|faint|marked|considerable|substantial|extensive|massive|huge|low grade"
    r"|(?:large|big) (?:left|right|bilateral|loculated|hiatal)|borderline|prominent|enlarged"
    r"|stable|unchanged|persist|new|increas|worsen|improv|decreas|resolving|evolving|developing|progressive"
    r"|ongoing|continu|recurrent|residual|interval|previously|preexisting|pre existing|known|status post"
    r"|post ?(?:op|surg)|chronic|subacute|early|old|remote|healed|healing|degenerative|calcified|tortuous"
    r"|left|right|bilateral|bibas|basal|basilar|apical|biapical|retrocardiac|perihilar|lingular"
    r"|(?:lower|upper|middle) lobe|[lr][ulm]l\b"
    r"|normal|patchy|streaky|hazy|diffuse|dense|linear|discoid|plate ?like|band ?like|subsegmental|low lung"
    r"|loculated|layering|hyper(?:infl|exp|aer)"
    r"|possibl|probabl|likely|question|suspect|may "
    r"|one |two |three |four |single|solitary|multiple|several|few|numerous|many |innumerable|scattered"
    r"|\d[\d,]* ?[cm]m\b|presence of|only |just |merely |simply |rather |instead )"
)
_SEEN = re.compile(
    r" (?:\w+ly |clearly |definitely )?(?:seen|identified|visuali[sz]ed|appreciated"
    r"|demonstrated|detected|found|observed|visible|apparent|suspected|shown)"
)
# Behind a finding without a verb: how it is, or where ("effusion small", "consolidation in the left base").
_PREDICATE = re.compile(
    r"(?: [a-z]+ly| again| now| also| still){0,3}(?: (?:small|tiny|trace|minimal|mild|moderate|severe"
    r"|large|massive"
    r"|stable|unchanged|similar|persist\w*|increas\w+|decreas\w+|improv\w+|wors\w+|larger|smaller|enlarg\w+"
    r"|resolving|as before|remains?|new|again (?:seen|noted|identified)|redemonstrated|healed|old|chronic)\b"
    r"|(?: \w+){0,2} (?:in|at|on|of|within|along|involving) (?:the )?"
    r"(?:left|right|lingula|lower|upper|middle|both|base|apex|apices)s?\b)"
)
_PLACED = re.compile(  # of a device
    r"(?: tip)? (?:in (?:place|situ|(?:\w+ )?positions?)|tip|terminat\w+|project\w+|overl\w+|ends?|unchanged"
    r"|noted|\d)\b"
)
_DETERMINERS = re.compile(r" (?:the |there (?:is|are) |there )?$")
_DEVICES = FINDINGS.index("Support Devices")
_LOOK_AHEAD = 30  # events; no list is longer


def starts_assertion(sentence: str, events: list[Event], i: int, verb_since: bool) -> bool:
    """Whether after the comma or "and" `events[i]` something new is asserted, and not a list goes on."""
    following = events[i + 1] if i + 1 < len(events) else None
    if following is None or following.kind in ("OR", "NEGATE", "AND"):
        return False
    if verb_since:
        return True
    list_goes_on = False
    for event in events[i + 1 : i + 1 + _LOOK_AHEAD]:
        if event.kind in ("VERB", "HAVE"):
            if not _SEEN.match(sentence, event.end):
                return not list_goes_on
            break
        if event.kind in ("BREAK", "NEGATE", "NEGATED", "HEDGED", "WITH"):
            break
        if event.kind == "OR":
            list_goes_on = True
    if list_goes_on:
        return False
    return NEW_ASSERTION.match(sentence, events[i].end) is not None or _has_predicate(sentence, events, i + 1)


def runs_on(sentence: str, events: list[Event], i: int) -> bool:
    """Whether `events[i]` begins a statement though no sign parts it from the denied finding before it.

    "no pneumothorax small left effusion", "no effusion heart is enlarged".
    """
    event, before = events[i], events[i - 1]
    if before.kind not in ("FINDING", "CALCIFIED") or _list_goes_on(events, i):
        return False
    gap = sentence[before.end : event.start]
    if event.kind == "ANATOMY":
        new = _DETERMINERS.match(gap) or NEW_ASSERTION.match(gap)
        return (
            new is not None
            and i + 1 < len(events)
            and events[i + 1].kind in ("VERB", "NORMAL", "ABNORMAL", "ALTERED")
        )
    if event.findings == (_DEVICES,) and _PLACED.match(sentence, event.end):
        return True
    if gap == " ":
        return _has_predicate(sentence, events, i)
    seen = _SEEN.match(gap)
    return NEW_ASSERTION.match(gap, seen.end() if seen else 0) is not None


def _has_predicate(sentence: str, events: list[Event], i: int) -> bool:
    """Whether the finding that begins at `events[i]` is told something of: its size, course or place."""
    first = events[i]
    if first.kind == "ANATOMY" and i + 1 < len(events):
        state = events[i + 1]
        if state.kind in ("WITH", "HAVE"):  # "lungs show edema"
            return True
        words = sentence[state.start : state.end]
        return state.kind == "NORMAL" or (
            state.kind in ("ABNORMAL", "ALTERED") and not words.endswith(("ment", "ence", "ing"))
        )
    if first.findings == (_DEVICES,) and _PLACED.match(sentence, first.end):
        return True  # "no pneumothorax, chest tube in place"
    return first.kind == "FINDING" and _PREDICATE.match(sentence, first.end) is not None


def _list_goes_on(events: list[Event], i: int) -> bool:
    for event in events[i : i + _LOOK_AHEAD]:
        if event.kind == "OR":
            return True
        if event.kind in ("BREAK", "NEGATE", "NEGATED", "HEDGED", "WITH", "VERB", "HAVE", "COMMA"):
            return False
    return False
