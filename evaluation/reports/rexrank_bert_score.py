"""BERTScore as ReXrank counts it: distilroberta-base, layer 5, rescaled; asked for by --distilroberta."""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.reports.rexrank_text import squeeze

LAYER = 5
BASELINE = "baseline.tsv"  # of another model, beside it: columns LAYER, P, R, F
_PACKAGED = Path("rescale_baseline") / "en" / "distilroberta-base.tsv"


def read_baseline(folder: Path) -> float:
    """The F1 of unrelated English sentences at the layer, by which scores are rescaled.

    Raises:
        ValueError: the package, which holds it for distilroberta-base, is not there.
    """
    package = importlib.util.find_spec("bert_score")
    if package is None or package.origin is None:
        raise ValueError(f"--distilroberta {folder}: pip install bert-score")
    own, packaged = folder / BASELINE, Path(package.origin).parent / _PACKAGED
    with (own if own.is_file() else packaged).open(newline="") as lines:
        return next(float(row["F"]) for row in csv.DictReader(lines) if int(row["LAYER"]) == LAYER)


def score_rexrank_bert(
    references: Sequence[str], hypotheses: Sequence[str], folder: Path, device: Any = "cpu"
) -> np.ndarray:
    """Rescaled F1 of N pairs, (N,): 1 for the same text, about 0 for unrelated texts, less for no text."""
    from evaluation.reports.bert_score import BertScore

    baseline = read_baseline(folder)
    raw = BertScore(folder, LAYER, device)(list(map(squeeze, references)), list(map(squeeze, hypotheses)))
    return (raw - baseline) / (1.0 - baseline)


def rexrank_bert_scores(reports: ReportInputs) -> np.ndarray:
    """(N,) scores of the section's reports; worked out once."""
    from runtime.devices import resolve_device

    settings = reports.settings
    texts = reports.rexrank_references, reports.generated_reports
    folder, device = Path(settings.distilroberta), resolve_device(settings.device)
    return reports.once("rexrank bert", lambda: score_rexrank_bert(*texts, folder, device))


def _compute(reports: ReportInputs) -> Figure:
    each = rexrank_bert_scores(reports)
    return Figure(float(each.mean()), each=each)


METRICS = (
    Metric(
        key="rexrank_bert_score",
        title="BERTScore (ReXrank)",
        section="reports",
        direction="higher",
        range=(float("-inf"), 1.0),
        convention="mean F1, distilroberta-base, layer 5, no idf, rescaled by the package's baseline; the "
        "real report with the headings Findings: and Impression:",
        source="Zhang et al., ICLR 2020, by the package bert_score; settings of Yu et al., Patterns 2023",
        needs=("texts",),
        compute=_compute,
        flag="distilroberta",
    ),
)
