"""Expected calibration error of a classifier on synthetic films, against what the films were asked for."""

from collections.abc import Mapping
from functools import partial

from evaluation.images.auroc import both_sides, finding_figure
from evaluation.metric import Items, Metric
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator
from evaluation.statistics.findings import NUM_BINS


def _estimate(items: Items) -> Mapping[str, Estimator]:
    return {f"ece_mean{end}": weighted_estimators.calibration(*asked) for end, asked in both_sides(items)}


METRICS = (
    Metric(
        key="ece_mean",
        title="mean calibration error (ECE)",
        section="films",
        direction="as real",
        convention=f"expected calibration error over {NUM_BINS} equal bins of probability, of the films and "
        "findings of auroc_mean; interval with the sign of each bin held, for a resample has a higher ECE by "
        "itself",
        source="Guo et al., ICML 2017, eq. 3",
        needs=("probabilities", "labels"),
        compute=partial(finding_figure, figure="ece"),
        estimate=_estimate,
        ceiling="ece_mean_real",
    ),
)
