"""Word-overlap scores of reports: BLEU-1..4, ROUGE-L and CIDEr as of pycocoevalcap; no Java is needed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from evaluation.metric import Figure, Items, Metric
from evaluation.reports.inputs import ReportInputs
from evaluation.reports.rouge import score_rouge_l
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator

NORMALIZATION = (
    "lower case; words are runs of letters and digits, kept whole over an inner hyphen, apostrophe or "
    "decimal point; other punctuation is dropped, as COCO's tokenizer does"
)
_WORD = re.compile(r"\d+(?:\.\d+)+|[^\W_]+(?:[-'][^\W_]+)*")


def normalize(text: str) -> str:
    """A report as lower-case words with single spaces (see NORMALIZATION)."""
    return " ".join(_WORD.findall(text.lower()))


@dataclass(frozen=True)
class Overlap:
    """Word overlap of N pairs of texts: the figures, and what each pair adds to them."""

    figures: dict[str, float]  # bleu_1..bleu_4 (corpus level), rouge_l, cider
    rouge_l: np.ndarray  # (N,)
    cider: np.ndarray  # (N,)
    bleu_counts: (
        np.ndarray
    )  # (N, 10): n-grams of orders 1-4 in the report, those shared, its words, the reference's


def score_overlap(references: Sequence[str], hypotheses: Sequence[str]) -> Overlap:
    """bleu_1..bleu_4 (corpus level), rouge_l (mean, beta 1.2) and cider (CIDEr, 0..10) of N pairs of texts.

    An empty hypothesis scores 0. CIDEr takes its document frequencies from the references scored here:
    it compares only over one set of references, and is 0 for a single one.

    Raises:
        ValueError: no texts, not as many of each, or references without a word.
    """
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider

    if len(references) != len(hypotheses) or not references:
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} reports: as many of each, not 0"
        )
    gts = {row: [normalize(text)] for row, text in enumerate(references)}
    res = {row: [normalize(text)] for row, text in enumerate(hypotheses)}
    if not any(text for (text,) in gts.values()):
        raise ValueError("no reference holds a word")
    scorer = BleuScorer(n=4)
    for row, reference in gts.items():
        scorer += (res[row][0], reference)
    counts = [[*c["guess"], *c["correct"], c["testlen"], *c["reflen"]] for c in scorer.ctest]
    bleu, _ = scorer.compute_score(option="closest", verbose=0)
    figures = {f"bleu_{n}": float(value) for n, value in enumerate(bleu, start=1)}
    rouge_l = score_rouge_l([text for (text,) in gts.values()], [text for (text,) in res.values()])
    cider_mean, cider = Cider().compute_score(gts, res)
    figures |= {"rouge_l": float(rouge_l.mean()), "cider": float(cider_mean)}
    return Overlap(figures, rouge_l, np.asarray(cider), np.array(counts, np.float64))


def score_text(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """The figures of `score_overlap`."""
    return score_overlap(references, hypotheses).figures


def _compute(reports: ReportInputs, key: str) -> Figure:
    found = reports.once("overlap", lambda: score_overlap(reports.references, reports.hypotheses))
    typical = reports.once(
        "typical overlap",
        lambda: score_text(reports.references, [reports.typical] * len(reports.references)),
    )
    each = {"rouge_l": found.rouge_l, "cider": found.cider}.get(key)
    items = {"bleu_counts": found.bleu_counts} if each is None else {}
    return Figure(found.figures[key], floor=typical[key], each=each, items=items)


def _estimate_bleu(items: Items, order: int) -> Mapping[str, Estimator]:
    return {f"bleu_{order}": weighted_estimators.bleu(items["bleu_counts"], order)}


METRICS = (
    *(
        Metric(
            key=f"bleu_{order}",
            title=f"BLEU-{order}",
            section="reports",
            direction="higher",
            convention=f"pycocoevalcap, corpus level, one reference; {NORMALIZATION}; of the text of "
            "findings and impression, without the headings FINDINGS: and IMPRESSION:, as all figures of "
            "words; floor: the training report with the highest BLEU-4 against all training reports (against "
            "the references, where there are none) given for every film",
            source="Papineni et al., ACL 2002, by pycocoevalcap",
            needs=("texts",),
            compute=partial(_compute, key=f"bleu_{order}"),
            estimate=partial(_estimate_bleu, order=order),
            floor=f"typical.bleu_{order}",
            headline=12 if order == 4 else 0,
        )
        for order in (1, 2, 3, 4)
    ),
    Metric(
        key="rouge_l",
        title="ROUGE-L",
        section="reports",
        direction="higher",
        convention="pycocoevalcap, F of the longest common subsequence with beta 1.2, mean over reports; "
        "normalization of BLEU",
        source="Lin, ACL workshop 2004, eq. 3; equal to pycocoevalcap",
        needs=("texts",),
        compute=partial(_compute, key="rouge_l"),
        floor="typical.rouge_l",
        headline=13,
    ),
    Metric(
        key="cider",
        title="CIDEr",
        section="reports",
        direction="higher",
        range=(0.0, 10.0),
        convention="CIDEr-D of pycocoevalcap, mean over reports, document frequencies of these references: "
        "compares over the same references only, and is 0 for a single one; normalization of BLEU",
        source="Vedantam et al., CVPR 2015, by pycocoevalcap",
        needs=("texts",),
        compute=partial(_compute, key="cider"),
        floor="typical.cider",
        headline=14,
    ),
)
