"""RadGraph F1, by the radgraph package; asked for by --radgraph."""

from collections.abc import Sequence

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs


def score_radgraph(references: Sequence[str], hypotheses: Sequence[str], model: str) -> np.ndarray:
    """RadGraph F1 (reward "partial", Delbrouck et al., EMNLP Findings 2022) of each pair, (N,).

    Args:
        model: model type of the `radgraph` package (radgraph, radgraph-xl ...), from its own cache.

    Raises:
        ValueError: the package or its model is not there.
    """
    try:
        # The type checker takes this very file for the package.
        from radgraph import F1RadGraph  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise ValueError(f"--radgraph {model}: pip install radgraph ({error})") from error
    try:
        scorer = F1RadGraph(reward_level="partial", model_type=model)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise ValueError(f"--radgraph {model}: its weights are not in radgraph's cache: {error}") from error
    _, each, _, _ = scorer(refs=list(references), hyps=list(hypotheses))
    return np.asarray(each, np.float64)


def _compute(reports: ReportInputs) -> Figure:
    each = score_radgraph(reports.references, reports.hypotheses, reports.settings.radgraph)
    return Figure(float(each.mean()), each=each)


METRICS = (
    Metric(
        key="radgraph_f1",
        title="RadGraph F1",
        section="reports",
        direction="higher",
        convention="reward partial of the radgraph package, mean over reports",
        source="Delbrouck et al., EMNLP Findings 2022, by the package radgraph",
        needs=("texts",),
        compute=_compute,
        flag="radgraph",
        headline=17,
    ),
)
