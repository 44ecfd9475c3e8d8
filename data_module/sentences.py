"""A text as sentences: what prior references are taken out of, and what training draws from."""

import re

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"(_])")
_ABBREVIATION = re.compile(r"(?:^|\s)(?:\d{1,2}|Drs?|Mrs?|Ms|vs|approx)\.$")
_LONGEST = 16  # characters that hold any of these with what stands before


def split_sentences(text: str) -> list[str]:
    """Sentences of a text; the number of a list stays with its sentence."""
    sentences: list[list[str]] = []
    for piece in _SENTENCE_END.split(text.strip()):
        if sentences and _ABBREVIATION.search(sentences[-1][-1][-_LONGEST:]):
            sentences[-1].append(piece)
        elif piece:
            sentences.append([piece])
    return [" ".join(pieces) for pieces in sentences]
