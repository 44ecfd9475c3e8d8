"""The words of the labeler, read from phrases/*.txt: findings, other abnormalities, anatomy and cues.

Each phrase maps to what it is. When two lists hold the same phrase the later of cues, anatomy, others,
findings, ignored wins.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_module.findings import FINDINGS
from data_module.labeler.matcher import expand_phrase

PHRASES_DIR = Path(__file__).parent / "phrases"
OTHER = len(FINDINGS)  # index of "abnormal, but none of the 14": blocks No Finding

# region -> findings that an abnormal state ("enlarged") asserts, those that a normal one ("clear") denies
ANATOMY_MEANING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "heart": (("Cardiomegaly",), ("Cardiomegaly",)),
    "silhouette": (("Cardiomegaly",), ("Cardiomegaly", "Enlarged Cardiomediastinum")),
    "mediastinum": (("Enlarged Cardiomediastinum",), ("Enlarged Cardiomediastinum",)),
    "lungs": ((), ("Lung Opacity",)),
    "vessels": (("Edema",), ()),
    "pleura": ((), ("Pleural Effusion",)),
    "bones": ((), ("Fracture",)),
    "elsewhere": ((), ()),
    "film": ((), ()),
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a phrase is: its kind, the indices of the findings it asserts, the region of anatomy it names."""

    kind: str
    findings: tuple[int, ...] = ()
    region: str = ""


def read_phrases(path: Path) -> dict[str, list[str]]:
    """The sections of a phrase file, spelt out: section name -> phrases.

    Raises:
        ValueError: a phrase before the first section, or brackets that do not close; names the file.
    """
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    text = "\n".join(filter(None, lines)).replace("|\n", "|")
    parts: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    section = None
    for line in text.splitlines():
        for name, part in parts.items():
            line = line.replace(name, part)
        definition = re.fullmatch(r"(\{[A-Z]+\}) = (.*)", line)
        if definition:
            parts[definition.group(1)] = definition.group(2)
        elif line.startswith("== "):
            section = sections.setdefault(line[3:], [])
        elif section is None:
            raise ValueError(f"{path}: phrase {line!r} stands before the first section (== NAME)")
        else:
            section += expand_phrase(line)
    return sections


@cache
def read_words() -> frozenset[str]:
    """Every word of the phrases."""
    return frozenset(word for phrase in read_lexicon() for word in phrase.split())


@cache
def read_lexicon() -> dict[str, Meaning]:
    """Every phrase of phrases/*.txt -> its meaning."""
    lexicon: dict[str, Meaning] = {}
    for kind, phrases in read_phrases(PHRASES_DIR / "cues.txt").items():
        lexicon.update(dict.fromkeys(phrases, Meaning(kind)))
    for region, phrases in read_phrases(PHRASES_DIR / "anatomy.txt").items():
        lexicon.update(dict.fromkeys(phrases, Meaning("ANATOMY", region=region)))
    others = read_phrases(PHRASES_DIR / "others.txt")
    lexicon.update(dict.fromkeys(others["OTHER"], Meaning("FINDING", (OTHER,))))
    for names, phrases in read_phrases(PHRASES_DIR / "findings.txt").items():
        findings = tuple(FINDINGS.index(name) for name in names.split(" + "))
        lexicon.update(dict.fromkeys(phrases, Meaning("FINDING", findings)))
    lexicon.update(dict.fromkeys(others["IGNORED"], Meaning("IGNORED")))
    lexicon.pop("", None)
    return lexicon
