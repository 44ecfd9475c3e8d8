"""How near synthetic films come to training films, against held-out real films, which are no copies."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from evaluation.metric import Direction, Figure, Items, Metric, MetricInputs
from evaluation.privacy.distances import (
    ANGLES,
    DISTANCES,
    FRACTION,
    MARGIN,
    NUM_CANDIDATES,
    QUANTILE,
    SCALES,
    SIDE,
    compare_distances,
)
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.items import SYNTHETIC


@dataclass(kw_only=True)
class PrivacyInputs(MetricInputs):
    """Distances of N synthetic and M held-out real films to their nearest training film, by kind."""

    synthetic: dict[str, np.ndarray]  # kind -> (N,)
    real: dict[str, np.ndarray]  # kind -> (M,)

    @property
    def compared(self) -> dict[str, Any]:
        """See `distances.compare_distances`."""
        return self.once("compared", lambda: compare_distances(self.synthetic, self.real))


def _compute(films: PrivacyInputs, kind: str, figure: str) -> Figure:
    found = films.compared[kind]
    more = {f"{kind}.{name}": value for name, value in found.items()}
    items = {
        kind: np.concatenate([films.synthetic[kind], films.real[kind]]),
        f"near_{kind}": np.array(found["threshold"] / FRACTION),
    }
    return Figure(found[figure], more=more, items=items)


def _estimate(items: Items, kind: str, figure: str) -> Mapping[str, Estimator]:
    values, synthetic = items[kind], items["stratum"] == SYNTHETIC
    if figure == "ratio":
        medians = [weighted_estimators.median_of(values, rows) for rows in (synthetic, ~synthetic)]
        return {f"{kind}.ratio": weighted_estimators.ratio(*medians)}
    close = (values < float(items[f"near_{kind}"])).astype(np.float64)
    return {f"{kind}.share_close": weighted_estimators.mean_of(close, synthetic)}


_KINDS = {
    "pixels": f"1 - correlation of the films at {SIDE}x{SIDE}",
    "features": "Euclidean distance of --reidentify's features, else of the first extractor's",
    "registered": f"1 - largest correlation of the film's center over shifts of +-{MARGIN} pixels, rotations "
    f"{ANGLES}, scales {SCALES} and mirroring, with the {NUM_CANDIDATES} nearest by pixels and by features",
}
_DIRECTIONS: dict[str, Direction] = {"ratio": "none", "share_close": "lower"}
METRICS = tuple(
    Metric(
        key=f"{kind}.{figure}",
        title=f"{kind}, {title}",
        section="privacy",
        direction=_DIRECTIONS[figure],
        range=(0.0, np.inf if figure == "ratio" else 1.0),
        convention=f"{_KINDS[kind]}, to the nearest training film; {convention}",
        source="own definition (evaluation/privacy/distances.py)",
        needs=("distances",),
        compute=partial(_compute, kind=kind, figure=figure),
        estimate=partial(_estimate, kind=kind, figure=figure),
        row=False,
    )
    for kind in DISTANCES
    for figure, title, convention in (
        (
            "ratio",
            "ratio of medians",
            "median of synthetic films by that of held-out real films: below 1, closer",
        ),
        (
            "share_close",
            "share of close films",
            f"films nearer than the {QUANTILE:.0%} quantile of held-out real ones, {QUANTILE} by chance; "
            "interval with the threshold held",
        ),
    )
)
