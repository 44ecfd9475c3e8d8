"""Word-overlap scores of reports: BLEU-1..4, ROUGE-L and CIDEr by pycocoevalcap; no Java is needed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

NORMALISATION = (
    "lower case; words are runs of letters and digits, kept whole over an inner hyphen, apostrophe or "
    "decimal point; other punctuation is dropped, as COCO's tokenizer does"
)
_WORD = re.compile(r"\d+(?:\.\d+)+|[^\W_]+(?:[-'][^\W_]+)*")


def normalise(text: str) -> str:
    """A report as lower-case words with single spaces (see NORMALISATION)."""
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
    if len(references) != len(hypotheses) or not references:
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} reports: as many of each, not 0"
        )
    gts = {row: [normalise(text)] for row, text in enumerate(references)}
    res = {row: [normalise(text)] for row, text in enumerate(hypotheses)}
    if not any(text for (text,) in gts.values()):
        raise ValueError("no reference holds a word")
    scorer = BleuScorer(n=4)
    for row, reference in gts.items():
        scorer += (res[row][0], reference)
    counts = [[*c["guess"], *c["correct"], c["testlen"], *c["reflen"]] for c in scorer.ctest]
    bleu, _ = scorer.compute_score(option="closest", verbose=0)
    figures = {f"bleu_{n}": float(value) for n, value in enumerate(bleu, start=1)}
    rouge_mean, rouge_l = Rouge().compute_score(gts, res)
    cider_mean, cider = Cider().compute_score(gts, res)
    figures |= {"rouge_l": float(rouge_mean), "cider": float(cider_mean)}
    return Overlap(figures, np.asarray(rouge_l), np.asarray(cider), np.array(counts, np.float64))


def score_text(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """The figures of `score_overlap`."""
    return score_overlap(references, hypotheses).figures


def describe_texts(texts: Sequence[str]) -> dict[str, float]:
    """num_distinct_reports (after normalisation), share of the most frequent one, mean number of words."""
    words = [normalise(text) for text in texts]
    return {
        "num_distinct_reports": len(set(words)),
        "share_most_frequent": Counter(words).most_common(1)[0][1] / len(words),
        "mean_num_words": float(np.mean([len(text.split()) for text in words])),
    }


def most_frequent(texts: Sequence[str]) -> str:
    """The text that stands there most often after normalisation, as first written; the first of equals."""
    words = [normalise(text) for text in texts]
    return texts[words.index(Counter(words).most_common(1)[0][0])]
