"""One sentence -> the row of phrases that matter in it: findings, anatomy, cues, commas."""

import re
from dataclasses import dataclass

from evaluation.labeler.matcher import compile_phrases
from evaluation.labeler.vocabulary import read_lexicon


@dataclass(slots=True)
class Event:
    """A phrase found in a sentence. `findings`: indices it asserts; `region`: of anatomy."""

    kind: str
    start: int
    end: int
    findings: tuple[int, ...] = ()
    region: str = ""
    code: float | None = None


_LEXICON, _FILLERS = read_lexicon()
_EVENT = compile_phrases(_LEXICON, _FILLERS)
_FILLER = re.compile(rf" (?:{'|'.join(_FILLERS)})(?= )")


def find_events(sentence: str) -> list[Event]:
    """The phrases of a sentence (from `text.split_sentences`) in order, before any certainty is settled."""
    events = []
    for match in _EVENT.finditer(sentence):
        phrase = match.group()
        meaning = _LEXICON.get(phrase) or _LEXICON[_FILLER.sub("", phrase)]
        events.append(Event(meaning.kind, match.start(), match.end(), meaning.findings, meaning.region))
    return events
