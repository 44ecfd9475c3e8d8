"""RadCliQ: how many errors a radiologist would find, from four other figures; asked for by --radcliq.

Yu et al., Patterns 2023. It is linear in RadGraph F1, BERTScore, SembScore and BLEU-2, each standardized.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports import radgraph_json, rexrank_bert_score, semb_score, sentence_bleu
from evaluation.reports.inputs import ReportInputs
from runtime.files import read_json

PARTS = ("radgraph_combined", "bert_score", "semb_score", "bleu_2")


@dataclass(frozen=True)
class Coefficients:
    """(part - mean) / scale, times its weight, summed over PARTS, plus the intercept."""

    mean: Sequence[float]
    scale: Sequence[float]
    weights: Sequence[float]
    intercept: float

    def combine(self, parts: np.ndarray) -> np.ndarray:
        """(N, 4) in the order of PARTS -> (N,)."""
        return (parts - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.intercept


# The published v1, as its reimplementations state it; BLEU-2 hardly counts in it.
V1 = Coefficients(
    mean=(0.53792312, 0.61757256, 0.76479421, 0.44738335),
    scale=(0.30282584, 0.22430938, 0.25394391, 0.29892717),
    weights=(-0.377083683, -0.3703001, -0.252616218, 4.31504841e-12),
    intercept=2.46655256e-10,
)


def read_coefficients(source: str) -> Coefficients:
    """v1, or those of a JSON file {"mean": [4], "scale": [4], "weights": [4], "intercept": 0.0}.

    v0 is published as pickles, which are not opened here: its file states data_min_ and data_range_ of
    normalizer.pkl as mean and scale, coef_ and intercept_ of composite_metric_model.pkl as weights.

    Raises:
        ValueError: neither, or a file of another form.
    """
    if source == "v1":
        return V1
    path = Path(source)
    if not path.is_file():
        raise ValueError(
            f"--radcliq {source}: write v1, or a JSON file with mean, scale and weights (four numbers each, "
            f"for {', '.join(PARTS)}) and intercept; for v0 take them from the files of CXR-Report-Metric: "
            "normalizer.pkl (data_min_, data_range_), composite_metric_model.pkl (coef_, intercept_)"
        )
    content = read_json(path)
    try:
        lists = [[float(value) for value in content[name]] for name in ("mean", "scale", "weights")]
        found = Coefficients(lists[0], lists[1], lists[2], float(content["intercept"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"--radcliq {path}: needs mean, scale and weights, four numbers each, intercept"
        ) from None
    if any(len(values) != len(PARTS) for values in lists) or 0.0 in found.scale:
        raise ValueError(
            f"--radcliq {path}: mean, scale and weights have four numbers each, and no scale is 0"
        )
    return found


def _compute(reports: ReportInputs) -> Figure:
    settings: Any = reports.settings
    missing = [
        f"--{name.replace('_', '-')}"
        for name in ("radgraph_json", "distilroberta", "chexbert")
        if not getattr(settings, name)
    ]
    if missing:
        raise ValueError(
            f"--radcliq {settings.radcliq} is made of four figures and needs {', '.join(missing)}"
        )
    coefficients = read_coefficients(settings.radcliq)
    parts = [
        radgraph_json.radgraph_scores(reports, radgraph_json.score_combined),
        rexrank_bert_score.rexrank_bert_scores(reports),
        semb_score.semb_scores(reports),
        sentence_bleu.sentence_bleus(reports),
    ]
    each = coefficients.combine(np.stack(parts, axis=1))
    mean = float(each.mean())
    return Figure(mean, each=each, more={"inverse_radcliq": 1.0 / mean if mean else None})


METRICS = (
    Metric(
        key="radcliq",
        title="RadCliQ",
        section="reports",
        direction="lower",
        range=(float("-inf"), float("inf")),
        convention="mean over reports; linear in RadGraph F1, BERTScore, SembScore and BLEU-2 as ReXrank "
        "counts them; which coefficients: inputs.reports; ReXrank ranks by inverse_radcliq, 1 / mean",
        source="Yu et al., Patterns 2023",
        needs=("texts",),
        compute=_compute,
        flag="radcliq",
    ),
)
