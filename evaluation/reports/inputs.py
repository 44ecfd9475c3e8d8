"""What the metrics of reports read: N real reports and the N generated ones, with their labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_module.consensus import find_typical
from data_module.sections import section_text
from evaluation.metric import MetricInputs, needed
from evaluation.reports.rexrank_text import reference_text

ReportLabeler = Callable[[Sequence[str]], np.ndarray]  # N reports -> (N, 14), 1, 0, -1 or NaN, as FINDINGS


@dataclass
class ReportInputs(MetricInputs):
    """Generated reports beside the real reports of the same films; an item is one of these pairs.

    Findings are read off the reports as they are. Figures of words read `references`, `hypotheses` and
    `typical`, without the headings of a pairs folder's reports: they are its own, no words of a radiologist.
    """

    real_reports: Sequence[str] = ()
    generated_reports: Sequence[str] = ()
    label: ReportLabeler | None = None
    baseline: str = ""  # this report for every film
    train_reports: Sequence[str] = ()  # the references stand for them where there are none
    names: Sequence[str] = ()  # of the reports: film or study
    settings: Any = field(default=None, repr=False)  # what a learned metric's flag says

    @property
    def references(self) -> list[str]:
        """N real texts."""
        return self.once("references", lambda: [section_text(text) for text in self.real_reports])

    @property
    def hypotheses(self) -> list[str]:
        """N generated texts."""
        return self.once("hypotheses", lambda: [section_text(text) for text in self.generated_reports])

    @property
    def rexrank_references(self) -> list[str]:
        """N real texts as ReXrank compares them, with both headings."""
        return self.once("rexrank", lambda: [reference_text(text) for text in self.real_reports])

    @property
    def typical(self) -> str:
        """The training text that shares most words and phrases with all of them."""
        reports = self.train_reports or self.real_reports
        return self.once("typical", lambda: section_text(find_typical(reports)))

    @property
    def truth(self) -> np.ndarray:
        """(N, 14) findings of the real reports."""
        return self.once("truth", lambda: needed(self.label)(self.real_reports))

    @property
    def guess(self) -> np.ndarray:
        """(N, 14) findings of the generated reports."""
        return self.once("guess", lambda: needed(self.label)(self.generated_reports))

    @property
    def constant_guess(self) -> np.ndarray:
        """(N, 14) findings of the baseline's reports."""
        labels = self.once("constant", lambda: needed(self.label)([self.baseline]))
        return np.repeat(labels, len(self.real_reports), axis=0)
