"""Phrase lists -> a tree of words that finds the longest phrase at each place of a text.

Phrases are written one a line with two shorthands, which are spelt out when the lists are first read:
`[x]` is optional, `(a|b)` is a choice; both nest. Nothing is compiled: some 74,000 phrases become nested
dictionaries in a fifth of a second, and a search looks each word up, so that its time is linear in the text.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
_END = "\n"  # stands in no phrase
_TOKEN = re.compile(r"\w+|[^\w\s]")  # a word or a single sign


def expand_phrase(phrase: str) -> list[str]:
    """Every string a phrase stands for: `pleural effusion[s]` -> ["pleural effusion", "pleural effusions"].

    Raises:
        ValueError: brackets that do not close.
    """
    variants, rest = _expand_alternatives(phrase, closing="")
    if rest:
        raise ValueError(f"phrase {phrase!r}: bracket closed that was never opened, at {rest!r}")
    return sorted({" ".join(variant.split()) for variant in variants})


def _expand_alternatives(text: str, closing: str) -> tuple[list[str], str]:
    """Strings of `text` up to the bracket `closing`, and what is left after it."""
    done: list[str] = []
    current = [""]
    while text:
        head, text = text[0], text[1:]
        if head in "([":
            inner, text = _expand_alternatives(text, ")" if head == "(" else "]")
            if head == "[":
                inner = ["", *inner]
            current = [left + right for left in current for right in inner]
        elif head == closing:
            return done + current, text
        elif head == "|":
            done, current = done + current, [""]
        elif head in ")]":
            return done + current, head + text
        else:
            current = [left + head for left in current]
    if closing:
        raise ValueError(f"phrase is missing its {closing!r}")
    return done + current, ""


class PhraseTree(Generic[T]):
    """Finds phrases in texts whose words are parted by single spaces.

    Args:
        phrases: phrase -> what it means.
        fillers: words that may stand between the words of any phrase ("is NOW COMPLETELY resolved").
        kept_after: filler -> words after which it counts as a word of its own ("not FULLY seen").
    """

    def __init__(
        self,
        phrases: Mapping[str, T],
        fillers: Collection[str] = (),
        kept_after: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._fillers, self._kept_after = frozenset(fillers), kept_after or {}
        self._root: dict = {}
        for phrase, meaning in phrases.items():
            node = self._root
            for word in _TOKEN.findall(phrase):
                node = node.setdefault(word, {})
            node[""] = meaning

    def find(self, text: str) -> Iterator[tuple[T, int, int]]:
        """(meaning, start, end) of the longest phrase at each place, from left to right, none overlapping."""
        tokens = list(_TOKEN.finditer(text))
        words = [token[0] for token in tokens]
        if not self._fillers.isdisjoint(words):
            kept = [i for i in range(len(words)) if not self._is_filler(words, i)]
            tokens, words = [tokens[i] for i in kept], [words[i] for i in kept]
        root = self._root
        starts = [i for i, word in enumerate(words) if word in root]
        words.append(_END)
        past = 0
        for i in starts:
            if i < past:
                continue
            node, longest, j = root[words[i]], None, i
            while node is not None:
                if "" in node:
                    longest, past = node[""], j + 1
                j += 1
                node = node.get(words[j])
            if longest is not None:
                yield longest, tokens[i].start(), tokens[past - 1].end()

    def _is_filler(self, words: list[str], i: int) -> bool:
        return (
            words[i] in self._fillers
            and 0 < i < len(words) - 1
            and words[i - 1] not in self._kept_after.get(words[i], ())
        )
