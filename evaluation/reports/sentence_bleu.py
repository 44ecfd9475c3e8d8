"""BLEU-2 of each report by itself, as ReXrank and RadCliQ count it; asked for by --rexrank."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs

EPSILON = 0.1  # in the place of no shared n-grams: Chen and Cherry, WMT 2014, smoothing 1


def split_words(text: str) -> list[str]:
    """Lower case, cut at spaces; a full stop is a word of its own, other punctuation stays with its word."""
    return [word for word in text.lower().replace(".", " .").split(" ") if word]


def score_sentence_bleu(reference: str, hypothesis: str) -> float:
    """Geometric mean of the precision of words and of pairs of words, times the brevity penalty; 0 to 1."""
    real, made = split_words(reference), split_words(hypothesis)
    if not made:
        return 0.0
    logs = []
    for order in (1, 2):
        grams, others = _count(made, order), _count(real, order)
        shared = sum((grams & others).values())
        if order == 1 and not shared:
            return 0.0
        logs.append(math.log((shared or EPSILON) / max(sum(grams.values()), 1)))
    shortness = min(0.0, 1.0 - len(real) / len(made))
    return math.exp(sum(logs) / len(logs) + shortness)


def _count(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def sentence_bleus(reports: ReportInputs) -> np.ndarray:
    """(N,) BLEU-2 of each pair of the section; worked out once."""

    def work() -> np.ndarray:
        pairs = zip(reports.rexrank_references, reports.generated_reports, strict=True)
        return np.array([score_sentence_bleu(*pair) for pair in pairs])

    return reports.once("rexrank bleu", work)


def _compute(reports: ReportInputs) -> Figure:
    each = sentence_bleus(reports)
    return Figure(float(each.mean()), each=each)


METRICS = (
    Metric(
        key="rexrank_bleu_2",
        title="BLEU-2 (ReXrank)",
        section="reports",
        direction="higher",
        convention="mean of each report's own BLEU-2, pairs of words that are not shared smoothed by 0.1; "
        "lower case, cut at spaces, a full stop is a word; the real report with the headings Findings: and "
        "Impression:",
        source="Papineni et al., ACL 2002; Yu et al., Patterns 2023 (CXR-Report-Metric)",
        needs=("texts",),
        compute=_compute,
        flag="rexrank",
    ),
)
