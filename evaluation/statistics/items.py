"""Items on disk: OUT/items/SECTION.npz keeps what each film, report or pair adds to the figures.

So intervals, and differences to another system, need nothing else. Every section has `name` and `patient`
(N,), `stratum` (N,) 0 synthetic and 1 real; what else there is each metric says (`Figure.items`).
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.metric import Items, Metric
from evaluation.statistics.bootstrap import draw_weights, percentile_interval, resample
from runtime.files import reading, write_atomic

SYNTHETIC, REAL = 0, 1
_NAMES = "names of all arrays"


def intervals(metrics: Sequence[Metric], items: Items, num: int, seed: int) -> dict[str, list[float] | None]:
    """95% percentile bootstrap interval of each figure, patients resampled; {} for num = 0."""
    if not num:
        return {}
    estimators = {key: estimator for metric in metrics for key, estimator in metric.estimators(items).items()}
    drawn = resample(estimators, draw_weights(items["patient"], items["stratum"], num, seed))
    return {key: percentile_interval(values) for key, values in drawn.items()}


def save_items(path: Path, items: Items) -> None:
    """Write a section's items as .npz, without pickles."""
    stream = io.BytesIO()
    # An archive has checksums of what its members hold, and none of their names.
    np.savez_compressed(stream, allow_pickle=False, **items, **{_NAMES: np.array(sorted(items), dtype=str)})
    write_atomic(path, stream.getvalue())


def load_items(path: Path) -> dict[str, np.ndarray]:
    """A section's items. ValueError where the file is not whole."""
    with reading(path, fix="score the folder again"), np.load(path, allow_pickle=False) as saved:
        items = {key: saved[key] for key in saved.files}
        names = items.pop(_NAMES, None)  # of before November 2026 none
        if names is not None and sorted(items) != names.tolist():
            raise ValueError("an array has lost its name")
        return items
