"""What the metrics of films read: features of three sets of films, and the two sides with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_module.findings import FINDINGS
from evaluation.metric import MetricInputs, needed


@dataclass(frozen=True)
class FeatureSets:
    """Features of as many films on each side, for the bias of most distances depends on their number."""

    synthetic: np.ndarray  # (n, D)
    real: np.ndarray  # (n, D)
    floor: np.ndarray | None = None  # (n, D) of other real films; None: no floor is measured
    # Which of a section's synthetic and real films these are, and how many it has; None: these are all.
    rows: tuple[np.ndarray, np.ndarray] | None = None
    sizes: tuple[int, int] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """num_fidelity and num_features."""
        return {"num_fidelity": len(self.synthetic), "num_features": self.synthetic.shape[1]}

    @classmethod
    def match(
        cls, synthetic: np.ndarray, real: np.ndarray, floor: np.ndarray | None, rng: np.random.Generator
    ) -> "FeatureSets":
        """Random subsets of the smallest number, of features (N_i, D)."""
        num = min(len(x) for x in (synthetic, real, floor) if x is not None)
        rows = [
            np.arange(len(x)) if len(x) == num else np.sort(rng.permutation(len(x))[:num])
            for x in (synthetic, real, *([] if floor is None else [floor]))
        ]
        other = None if floor is None else floor[rows[2]]
        sizes = len(synthetic), len(real)
        return cls(synthetic[rows[0]], real[rows[1]], other, (rows[0], rows[1]), sizes)


@dataclass(frozen=True)
class FilmSet:
    """The films of one side: N rows of a folder."""

    paths: Sequence[Path | None]
    prompts: Sequence[str]
    labels: np.ndarray  # (N, 14) what was asked for, or the film's own findings
    probabilities: np.ndarray  # (N, 14) by the classifier; NaN: unreadable, unlabeled, or not scored
    readable: np.ndarray  # (N,) bool
    # What is asked for and what is seen of `data_module.controls`, (N, C) each; rows of NaN: unreadable.
    controls: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.paths)


@dataclass
class FilmInputs(MetricInputs):
    """What film metrics read. Items of the section are all synthetic films, then all real ones."""

    features: FeatureSets | None = None
    synthetic: FilmSet | None = None
    real: FilmSet | None = None
    policy: tuple[str, str] = ("ignore", "negative")  # what uncertain and blank findings become

    def spread(
        self, synthetic: np.ndarray | None = None, real: np.ndarray | None = None, fill: float = np.nan
    ) -> np.ndarray:
        """Values of the films that `features` holds, (n,) each, over all items (N + M,); others: `fill`."""
        sets = needed(self.features)
        sizes = sets.sizes or (len(sets.synthetic), len(sets.real))
        spread = np.full(sum(sizes), fill, np.float64)
        places = sets.rows or tuple(np.arange(size) for size in sizes)
        for values, rows, start in zip((synthetic, real), places, (0, sizes[0]), strict=True):
            if values is not None:
                spread[start + rows] = values
        return spread


def empty_probabilities(num: int) -> np.ndarray:
    """(N, 14) where no classifier has spoken."""
    return np.full((num, len(FINDINGS)), np.nan, np.float32)
