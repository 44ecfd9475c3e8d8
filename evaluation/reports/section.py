"""Do generated reports say what the real report of the same film says?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_module.sections import section_text
from evaluation.reports.overlap import NORMALISATION, describe_texts, most_frequent, score_overlap, score_text
from evaluation.reports.terms import score_terms
from evaluation.statistics.findings import (
    POSITIVE_ONLY,
    UNCERTAIN_POLICIES,
    is_normal,
    score_conventions,
    score_f1,
)

Labeler = Callable[[Sequence[str]], np.ndarray]  # N reports -> (N, 14), 1, 0, -1 or NaN, order of FINDINGS
Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]  # references, reports -> (N,)

CONVENTIONS = {
    "reports.micro_f1_14": "labeler (inputs.reports.labeler) on the generated and on the real report of "
    f"the same film; {POSITIVE_ONLY}; macro over the findings that are positive on either side",
    "reports.clinical": "precision, recall and F1; "
    + "; ".join(f"{name}: {text}" for name, text in UNCERTAIN_POLICIES.items())
    + "; not mentioned is negative; macro over findings, example over reports, positive on either side",
    "reports.bleu_1": f"pycocoevalcap, corpus level, one reference; {NORMALISATION}; of the text of "
    "findings and impression, without the headings FINDINGS: and IMPRESSION:, as all figures of words",
    "reports.rouge_l": "pycocoevalcap, F of the longest common subsequence with beta 1.2, mean over reports",
    "reports.cider": "CIDEr of pycocoevalcap, 0 to 10, document frequencies of these references: compares "
    "over the same references only, and is 0 for a single one",
    "reports.meteor": "METEOR 1.5 by pycocoevalcap, mean over reports, same normalisation",
    "reports.radgraph_f1": "reward partial of the radgraph package, mean over reports",
    "reports.bert_score_f1": "mean over reports, greedy matching, no idf, no rescaling; see inputs.reports",
    "reports.terms_f1": "mean F1 of the distinct phrases of findings, anatomy and side; blind to negation",
    "reports.baseline": "the most frequent report of the training rows (of the references, where there are "
    "none) given for every film",
    "reports.num_distinct_reports": "after the normalisation of BLEU",
    "reports.intervals": "95% percentile bootstrap, patients resampled",
    "reports.share_normal": "reports without a positive finding other than No Finding and Support Devices",
}
# The keys of this section that results.json always has, null where there was nothing to score.
KEYS = (
    *("micro_f1_14", "macro_f1_14", "micro_f1_5", "macro_f1_5"),
    *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"),
)


def share_normal(labels: np.ndarray) -> float:
    """The share of normal reports (labels (N, 14)), see `findings_scores.is_normal`."""
    return float(is_normal(labels).mean())


def evaluate_reports(
    references: Sequence[str],
    hypotheses: Sequence[str],
    label: Labeler,
    train_reports: Sequence[str] = (),
    scorers: Mapping[str, Scorer] | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `reports` of results.json, for N real reports and the N generated ones.

    Args:
        train_reports: where the most-frequent-report baseline takes its report from.
        scorers: further scores of each report (BERTScore ...), by the name that their mean gets.

    Returns:
        The section, and what each report adds to its figures (see `measures.of_reports`).

    Raises:
        ValueError: no reports, or not as many of each.
    """
    truth, guess = label(references), label(hypotheses)
    constant = most_frequent(train_reports or references)
    # The headings of a pairs folder's reports are its own, and no words of a radiologist.
    references, hypotheses = ([section_text(text) for text in texts] for texts in (references, hypotheses))
    overlap = score_overlap(references, hypotheses)
    baseline = score_f1(truth, np.repeat(label([constant]), len(truth), axis=0))
    own = describe_texts(hypotheses)
    each = {"terms_f1": np.array([score_terms(*pair) for pair in zip(references, hypotheses, strict=True)])}
    each |= {name: score(references, hypotheses) for name, score in (scorers or {}).items()}
    result = {
        **score_f1(truth, guess),
        **overlap.figures,
        **{name: float(np.nanmean(scores)) for name, scores in each.items() if np.isfinite(scores).any()},
        "clinical": score_conventions(truth, guess),
        **own,
        **{f"{name}_real": value for name, value in describe_texts(references).items()},
        "share_normal": share_normal(guess),
        "share_normal_real": share_normal(truth),
        "baseline": {
            **{name: value for name, value in baseline.items() if "f1_" in name},
            **score_text(references, [section_text(constant)] * len(references)),
        },
    }
    if len(references) == 1:
        result["remarks"] = ["CIDEr of a single report is 0: no word tells it from the other reports."]
    items = {
        "truth": truth,
        "guess": guess,
        "bleu_counts": overlap.bleu_counts,
        "score_rouge_l": overlap.rouge_l,
        "score_cider": overlap.cider,
        **{f"score_{name}": scores for name, scores in each.items()},
    }
    return result, items
