"""How often reports contradict themselves, by kind; what the sections `pairs` and `reports` count alike."""

from collections.abc import Sequence

import numpy as np

from data_module.labeler.consistency import CONTRADICTIONS, find_contradictions

ANY = "any"
TITLES = {
    ANY: "reports that contradict themselves",
    "addition": "impression names what findings leave out",
    "assertion": "impression denies what findings assert, or reverse",
    "side": "impression gives another side",
    "severity": "impression gives another grade",
}


def find_kinds(reports: Sequence[str]) -> dict[str, np.ndarray]:
    """Kind of TITLES -> (N,) 1.0 where a report contradicts itself so, else 0.0."""
    found = find_contradictions(reports).astype(np.float64)
    return {ANY: found.max(axis=1), **dict(zip(CONTRADICTIONS, found.T, strict=True))}


def describe_kind(kind: str) -> str:
    """The convention of a metric."""
    ways = "; or ".join(CONTRADICTIONS.values()) if kind == ANY else CONTRADICTIONS[kind]
    return f"share of reports whose impression {ways}; by the rule labeler; without both sections: none"
