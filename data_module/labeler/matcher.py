"""Phrase lists -> one compiled regular expression that finds every phrase in a single pass.

Phrases are written one a line with two shorthands, which are spelt out once at import:
`[x]` is optional, `(a|b)` is a choice; both nest. The spelt-out phrases become a prefix tree, so the cost
of a search hardly grows with their number (some thousands), and the longest phrase wins at each place.
"""

import re
from collections.abc import Iterable, Mapping


def expand(phrase: str) -> list[str]:
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


FILLED = "~"  # a word that may stand between the words of any phrase is written as a row of these


def compile_phrases(phrases: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches the longest of `phrases` (whole words, or single signs) at each place."""
    tree: dict = {}
    symbols = ""
    for phrase in phrases:
        if not phrase[0].isalnum():
            symbols += re.escape(phrase)
            continue
        node = tree
        for character in phrase:
            node = node.setdefault(character, {})
        node[""] = {}
    words = rf"(?<!\w)(?:{_to_regex(tree)})(?!\w)"
    return re.compile(rf"{words}|[{symbols}]" if symbols else words)


def _to_regex(node: Mapping) -> str:
    branches = [
        (rf" (?:{FILLED}+ )*" if character == " " else re.escape(character)) + _to_regex(child)
        for character, child in node.items()
        if character
    ]
    if not branches:
        return ""
    if len(branches) == 1 and "" not in node:
        return branches[0]
    return f"(?:{'|'.join(branches)})" + ("?" if "" in node else "")
