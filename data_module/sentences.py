"""A text as sentences: what prior references are taken out of, and what training draws from."""

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"(_])")
_ABBREVIATION = re.compile(r"(?:^|\s)(?:\d{1,2}|Drs?|Mrs?|Ms|vs|approx)\.$")


def split_sentences(text: str) -> list[str]:
    """Sentences of a text; the number of a list stays with its sentence."""
    sentences: list[str] = []
    for piece in _SENTENCE_END.split(text.strip()):
        if sentences and _ABBREVIATION.search(sentences[-1]):
            sentences[-1] += f" {piece}"
        elif piece:
            sentences.append(piece)
    return sentences
