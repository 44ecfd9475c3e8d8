"""Which metrics notice a flipped negation? Shipped cases: a reference, its paraphrase, and its flip.

A metric notices a case when the paraphrase, which says the same in other words, scores higher than the flip,
which says the opposite in nearly the same words.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_module.labeler import label_reports
from evaluation.metric import Metric, metrics_of, score_metrics
from evaluation.output.cells import Table
from evaluation.output.formats import write_tables
from evaluation.reports.inputs import ReportInputs
from evaluation.statistics.findings import score_conventions
from runtime.files import write_atomic
from runtime.markdown import markdown_table

CASES = Path(__file__).parent / "negation_flips.csv"


def _clinical(references: list[str], hypotheses: list[str]) -> np.ndarray:
    """(N,) share of findings on which the labels of both reports agree, of those labeled in either."""
    truth, guess = (np.nan_to_num(label_reports(x), nan=-9.0) for x in (references, hypotheses))
    mentioned = (truth != -9.0) | (guess != -9.0)
    mentioned[:, 0] = False  # No Finding follows from the others
    return (mentioned & (truth == guess)).sum(axis=1) / np.maximum(mentioned.sum(axis=1), 1)


def _f1(references: list[str], hypotheses: list[str]) -> np.ndarray:
    labels = [label_reports(x) for x in (references, hypotheses)]
    rows = [
        score_conventions(a[None], b[None])["negative"]["micro_f1_14"] for a, b in zip(*labels, strict=True)
    ]
    return np.array([0.0 if value is None else value for value in rows])


def _score_texts(
    metrics: Sequence[Metric], references: list[str], hypotheses: list[str], settings: Any
) -> dict[str, np.ndarray]:
    """Title -> (N,) figure of each report on its own, of the metrics that read words alone."""
    inputs = ReportInputs(0, references, hypotheses, label_reports, references[0], settings=settings)
    _, items = score_metrics(metrics, inputs, ("texts",))
    alone = np.eye(len(references), dtype=np.float32)  # resamples of one report each
    return {
        metric.title: estimate(alone) for metric in metrics for estimate in metric.estimators(items).values()
    }


def score_cases(settings: Any = None) -> pd.DataFrame:
    """Every metric on the shipped cases: metric, paraphrase, flip (means), noticed (share of cases).

    Args:
        settings: what asks for learned metrics (BERTScore ...), by their flags.
    """
    cases = pd.read_csv(CASES, dtype=str)
    references = cases["reference"].tolist()
    metrics = [m for m in metrics_of("reports") if not m.flag or getattr(settings, m.flag, None)]
    metrics = [m for m in metrics if m.row and m.direction == "higher"]
    values: dict[str, dict[str, np.ndarray]] = {}
    for side in ("paraphrase", "flip"):
        texts = cases[side].tolist()
        figures = {"clinical F1": _f1(references, texts), "label agreement": _clinical(references, texts)}
        figures |= _score_texts(metrics, references, texts, settings)
        for name, each in figures.items():
            values.setdefault(name, {})[side] = np.nan_to_num(each)
    rows = [
        {
            "metric": name,
            "paraphrase": float(each["paraphrase"].mean()),
            "flip": float(each["flip"].mean()),
            "noticed": float((each["paraphrase"] > each["flip"] + 1e-9).mean()),
        }
        for name, each in values.items()
    ]
    return pd.DataFrame(rows)


def write_negation(out: Path, settings: Any = None) -> str:
    """Write OUT (.md, .tex or .csv) and OUT with .json; returns the Markdown."""
    scores = score_cases(settings)
    rows = [
        [row["metric"], f"{row['paraphrase']:.3f}", f"{row['flip']:.3f}", f"{row['noticed']:.2f}"]
        for _, row in scores.iterrows()
    ]
    note = (
        f"{len(pd.read_csv(CASES))} cases: mean score of a paraphrase, of the sentence with its negation "
        "flipped, and the share of cases in which the paraphrase scores higher."
    )
    table = Table(("metric", "paraphrase", "flipped", "noticed"), rows, note)
    text = f"{note}\n\n{markdown_table(table.header, rows)}\n"
    write_tables(out, {"cases": table}, text)
    write_atomic(out.with_suffix(".json"), json.dumps(scores.to_dict("records"), indent=2) + "\n")
    return text
