"""Which data sets a folder goes back to, and what their terms allow: for cards, and before sharing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.config import flatten
from runtime.files import read_json

GENERATED = "paircxr"  # `source` of rows that a model drew
EDITED = "paircxr edit"  # of rows that a model drew over a film of the data, which shines through
UNKNOWN = "unknown"
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Terms:
    """What holds for the films and reports of one data set, and for what is learned from them.

    Attributes:
        license: the hub's word for it; `name` and `link` where that word is "other".
        free: whether they may be passed on.
    """

    license: str
    says: str
    free: bool = False
    name: str = ""
    link: str = ""


TERMS = {
    "demo": Terms("apache-2.0", "rendered phantoms, no film of a person", free=True),
    "open-i": Terms(
        "cc-by-nc-nd-4.0", "CC BY-NC-ND 4.0: no commercial use, and nothing made from it may be passed on"
    ),
    "mimic-cxr": Terms(
        "other",
        "PhysioNet Credentialed Health Data Use Agreement 1.5.0: not to be shared",
        name="physionet-credentialed-1.5.0",
        link="https://physionet.org/content/mimic-cxr/view-dua/2.1.0/",
    ),
}
_NOT_KNOWN = Terms("other", "terms not known here", name=UNKNOWN)


def terms_of_use(origin: str) -> Terms:
    """The terms of a data set by the name that its rows have as `source`."""
    return TERMS.get(origin, _NOT_KNOWN)


def name_origin(source: object) -> str:
    """The data set of a row's `source`: "nih (text from labels)" is nih, an empty cell is unknown.

    What PairCXR itself writes counts by its first word: "paircxr edit", "demo counterfactuals".
    """
    name = source.split(" (")[0].strip() if isinstance(source, str) else ""
    first = name.split(" ")[0]
    return first if first in (GENERATED, *TERMS) else name or UNKNOWN


def resolve_origins(origins: Iterable[str], learned_from: Iterable[str] | None) -> set[str]:
    """Origins of rows, with the data sets that a model learned from in the place of the model's name."""
    found = set(origins)
    return (found - {GENERATED}) | (set(learned_from or [UNKNOWN]) if GENERATED in found else set())


def license_lines(origins: Iterable[str]) -> str:
    """The license as lines of a card's front matter: that of one data set, "other" for several."""
    terms = {terms_of_use(origin) for origin in origins} or {_NOT_KNOWN}
    one = terms.pop() if len(terms) == 1 else Terms("other", "", name="several")
    lines = {"license": one.license, "license_name": one.name, "license_link": one.link}
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if value)


def list_origins(settings: Mapping[str, Any]) -> list[str]:
    """Names of the data sets behind the pairs folders, runs and models that settings name."""
    values = {name: value for name, value in flatten(settings).items() if isinstance(value, str) and value}
    found: set[str] = set()
    for name, value in values.items():
        if name.rsplit(".", 1)[-1] not in ("out", "cache") and Path(value).is_dir():
            found |= find_origins(Path(value))
    return sorted(found)


def find_learned(folder: Path) -> list[str]:
    """Names of the data sets that a model which drew rows of a pairs folder has learned from."""
    record = read_record(folder / PROVENANCE)
    drawn = GENERATED in record.get(
        "origins", [GENERATED]
    )  # a folder of before this was written tells nothing
    return list(record.get("learned_from") or ([UNKNOWN] if drawn else []))


def find_origins(folder: Path) -> set[str]:
    """Names of the data sets that a pairs folder, a run folder or a model folder goes back to.

    UNKNOWN is among them where a pairs folder does not tell; a model folder that others made tells nothing.
    """
    if (folder / PROVENANCE).is_file():
        record = read_record(folder / PROVENANCE)
        return resolve_origins(record.get("origins") or [UNKNOWN], record.get("learned_from"))
    for card in (folder / "README.md", folder / "model" / "README.md"):
        if card.is_file() and (origins := _read_card(card)):
            return origins
    for config in (folder / "config.json", folder.parent / "config.json"):
        saved = read_record(config)
        if {"kind", "config"} <= saved.keys():  # of before there were cards
            return set(list_origins(saved["config"])) or {UNKNOWN}
    return set()


def read_record(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where it is missing or damaged: a card must not end a training."""
    try:
        return read_json(path)
    except (ValueError, OSError):
        return {}


def _read_card(path: Path) -> set[str]:
    """The data sets that a model's card names."""
    from huggingface_hub import metadata_load

    try:
        named = (metadata_load(path) or {}).get("datasets") or []
    except Exception:  # of a stranger's card, which may be anything
        return set()
    return {str(name) for name in ([named] if isinstance(named, str) else named)}
