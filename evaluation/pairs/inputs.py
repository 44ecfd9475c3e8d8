"""What the metrics of pairs read: findings of prompt, report and film, and perhaps their embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metric import Items, MetricInputs, needed
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.items import REAL, SYNTHETIC

# (prompt, report, film) findings of N items, each (N, 14). prompt: asked for, 1, 0, -1 or NaN; report: the
# labeler's reading; film: the classifier's decisions, 1 or 0, NaN columns: not scored, NaN rows: unreadable.
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]
Embeddings = Mapping[str, np.ndarray]  # "prompt", "film", "report" -> (N, D) unit rows, NaN rows: unknown


@dataclass
class PairInputs(MetricInputs):
    """Items of the section are all synthetic pairs, then all real ones."""

    synthetic: Triple | None = None
    real: Triple | None = None
    synthetic_embeddings: Embeddings | None = None
    real_embeddings: Embeddings | None = None
    synthetic_reports: Sequence[str] = ()
    real_reports: Sequence[str] = ()

    def both_sides(self) -> list[tuple[str, Embeddings]]:
        """The embeddings of the synthetic pairs, end "", and of the real ones, end "_real"."""
        return [("", needed(self.synthetic_embeddings)), ("_real", needed(self.real_embeddings))]


def means_of_both(items: Items, score: str, key: str, ceiling: str) -> dict[str, Estimator]:
    """Means of an item's scores over the synthetic pairs and over the real ones."""
    scores, strata = items[score], items["stratum"]
    return {
        name: weighted_estimators.mean_of(scores, strata == stratum)
        for name, stratum in ((key, SYNTHETIC), (ceiling, REAL))
    }


def mean_known(scores: np.ndarray) -> float | None:
    """Mean of what is not NaN; None where nothing is."""
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else None
