"""SembScore: cosine of CheXbert's embeddings of two reports; asked for by --chexbert."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs


def score_embeddings(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Cosine of each row of (N, D) with the same row of the other, (N,)."""
    norms = np.linalg.norm(real, axis=1) * np.linalg.norm(made, axis=1)
    return (real * made).sum(axis=1) / np.where(norms == 0.0, 1.0, norms)


def score_semb(references: Sequence[str], hypotheses: Sequence[str], path: Path, device: str) -> np.ndarray:
    """SembScore of N pairs of reports, (N,), by the published chexbert.pth."""
    from evaluation.networks.chexbert import CheXbert
    from runtime.devices import resolve_device

    model = CheXbert(path, resolve_device(device))
    return score_embeddings(model.embed(references), model.embed(hypotheses))


def semb_scores(reports: ReportInputs) -> np.ndarray:
    """(N,) SembScore of the section's reports; worked out once."""
    settings = reports.settings
    texts = reports.rexrank_references, reports.generated_reports
    return reports.once("semb", lambda: score_semb(*texts, settings.chexbert, settings.device))


def _compute(reports: ReportInputs) -> Figure:
    each = semb_scores(reports)
    return Figure(float(each.mean()), each=each)


METRICS = (
    Metric(
        key="semb_score",
        title="SembScore",
        section="reports",
        direction="higher",
        range=(-1.0, 1.0),
        convention="mean cosine of CheXbert's embeddings of the first token; the real report with the "
        "headings Findings: and Impression:; cut at 512 word pieces",
        source="Smit et al., EMNLP 2020; Yu et al., Patterns 2023 (s_emb)",
        needs=("texts",),
        compute=_compute,
        flag="chexbert",
    ),
)
