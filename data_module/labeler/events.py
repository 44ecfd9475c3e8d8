"""One sentence -> the row of phrases that matter in it: findings, anatomy, cues, commas."""

import re
from dataclasses import dataclass

from data_module.labeler.matcher import FILLED, compile_phrases
from data_module.labeler.vocabulary import read_lexicon


@dataclass(slots=True)
class Event:
    """A phrase found in a sentence. `findings`: indices it asserts; `region`: of anatomy."""

    kind: str
    start: int
    end: int
    findings: tuple[int, ...] = ()
    region: str = ""
    code: float | None = None


_LEXICON = read_lexicon()
_EVENT = compile_phrases(_LEXICON)
# Change nothing where they stand: "is now completely resolved". But "not fully seen" is not "not seen".
_FILLER = re.compile(
    r" (?:now|all|both|currently|entirely|totally|absolutely|definite|definitely|definitively|convincingly"
    r"|obviously|overtly|readily|confidently|reliably|significantly|subsequently|certainly"
    r"|(?<!not )(?<!be )(?:clearly|completely|fully))(?= )"
)
_FILLED_GAP = re.compile(rf" {FILLED}+(?= )")


def find_events(sentence: str) -> list[Event]:
    """The phrases of a sentence (from `text.split_sentences`) in order, before any certainty is settled."""
    events = []
    for match in _EVENT.finditer(_FILLER.sub(_fill, sentence)):
        phrase = match.group()
        meaning = _LEXICON.get(phrase) or _LEXICON[_FILLED_GAP.sub("", phrase)]
        events.append(Event(meaning.kind, match.start(), match.end(), meaning.findings, meaning.region))
    return events


def _fill(match: re.Match[str]) -> str:
    return " " + FILLED * (len(match.group()) - 1)
