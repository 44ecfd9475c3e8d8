"""The sections of results.json: what each is, how it is scored, and the tables it has of its own.

A section is one object, SECTION in its room's section.py, imported when it is asked for.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.metric import ROOMS, Metric
from evaluation.output.cells import Table
from evaluation.statistics.groups import Share, whole_items

if TYPE_CHECKING:
    from evaluation.context import Context

SECTION_NAMES = tuple(ROOMS)
Scored = tuple[dict[str, Any], dict[str, np.ndarray]] | str  # keys and items, or why nothing can be scored


@dataclass(frozen=True)
class Section:
    """One section of results.json.

    Attributes:
        legend: what floor and ceiling are here.
        keys: what it holds besides its metrics: name -> what that is.
        promised: keys that are always there, null where there was nothing to score.
        score: (context, what to write down of the inputs, whether the section may be left out, metrics) ->
            the section; ValueError for bad input.
        count: section -> how much was scored, and what was left out, as sentences.
        tables: section -> further tables.
        finish: (context, all sections) -> None, once everything is scored.
        share: (items, groups (N,) bool) -> the items as figures of groups read them.
    """

    name: str
    title: str
    legend: str
    keys: Mapping[str, str]
    score: Callable[["Context", dict[str, Any], bool, Sequence[Metric]], Scored]
    tables: Callable[[Mapping[str, Any]], list[Table]]
    count: Callable[[Mapping[str, Any]], str] = lambda section: ""
    conventions: Mapping[str, str] = field(default_factory=dict)  # of keys that are no metrics
    promised: tuple[str, ...] = ()
    finish: Callable[["Context", dict[str, Any]], None] | None = None
    share: Share = whole_items


def open_section(name: str) -> Section:
    """The section of a name."""
    return importlib.import_module(f"evaluation.{ROOMS[name]}.section").SECTION
