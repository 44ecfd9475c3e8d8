"""The clinical terms of a report, blind to negation: findings, anatomy and sides."""

import re

from data_module.labeler.events import find_events
from data_module.labeler.text import read_statements

_SIDE = re.compile(r"\b(?:left|right|bilateral)\b")


def find_terms(report: str) -> frozenset[str]:
    """Distinct phrases of findings and anatomy, and sides, of the statements of a report; lower case."""
    terms: set[str] = set()
    for sentence in read_statements(report):
        terms |= {
            sentence[event.start : event.end]
            for event in find_events(sentence)
            if event.kind in ("FINDING", "ANATOMY")
        }
        terms |= set(_SIDE.findall(sentence))
    return frozenset(terms)


def score_terms(reference: str, hypothesis: str) -> float:
    """F1 of the two reports' terms; NaN where neither has one."""
    a, b = find_terms(reference), find_terms(hypothesis)
    return 2.0 * len(a & b) / (len(a) + len(b)) if a or b else float("nan")
