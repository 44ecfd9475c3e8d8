"""What the metrics of reports read: N real reports and the N generated ones, with their labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.metric import MetricInputs

ReportLabeler = Callable[[Sequence[str]], np.ndarray]  # N reports -> (N, 14), 1, 0, -1 or NaN, as FINDINGS


@dataclass
class ReportInputs(MetricInputs):
    """Generated reports beside the real reports of the same films; an item is one of these pairs."""

    references: Sequence[str] = ()
    hypotheses: Sequence[str] = ()
    label: ReportLabeler | None = None
    constant: str = ""  # the baseline: this report for every film
    settings: Any = field(default=None, repr=False)  # what a learned metric's flag says

    @property
    def truth(self) -> np.ndarray:
        """(N, 14) findings of the real reports."""
        return self.once("truth", lambda: self.label(self.references))

    @property
    def guess(self) -> np.ndarray:
        """(N, 14) findings of the generated reports."""
        return self.once("guess", lambda: self.label(self.hypotheses))

    @property
    def constant_guess(self) -> np.ndarray:
        """(N, 14) findings of the baseline's reports."""
        labels = self.once("constant", lambda: self.label([self.constant]))
        return np.repeat(labels, len(self.references), axis=0)
