"""One sentence -> the row of phrases that matter in it: findings, anatomy, cues, commas."""

from dataclasses import dataclass
from functools import cache

from data_module.labeler.matcher import PhraseTree
from data_module.labeler.vocabulary import Meaning, read_lexicon


@dataclass(slots=True)
class Event:
    """A phrase found in a sentence. `findings`: indices it asserts; `region`: of anatomy."""

    kind: str
    start: int
    end: int
    findings: tuple[int, ...] = ()
    region: str = ""
    code: float | None = None
    past: bool = False  # denied by what the past had, which says nothing of the film


def cancel(*events: Event) -> None:
    """Take the sense of cues away, so that they count no more."""
    for event in events:
        event.kind = ""


# Change nothing where they stand: "is now completely resolved". But "not fully seen" is not "not seen".
_FILLERS = (
    *("now", "all", "both", "currently", "entirely", "totally", "absolutely", "definite", "definitely"),
    *("definitively", "convincingly", "obviously", "overtly", "readily", "confidently", "reliably"),
    *("significantly", "subsequently", "certainly", "clearly", "completely", "fully"),
)
_KEPT_AFTER = {**dict.fromkeys(("clearly", "completely", "fully"), ("not", "be")), "definite": ("not",)}


@cache
def _read_tree() -> PhraseTree[Meaning]:
    """The phrases, read when a first sentence is."""
    return PhraseTree(read_lexicon(), _FILLERS, _KEPT_AFTER)


def find_events(sentence: str) -> list[Event]:
    """The phrases of a statement (from `text.split_statements`) in order, before any certainty is settled."""
    return [
        Event(meaning.kind, start, end, meaning.findings, meaning.region)
        for meaning, start, end in _read_tree().find(sentence)
    ]
