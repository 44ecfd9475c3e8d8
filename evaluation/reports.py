"""Do generated reports say what the real report of the same film says?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from evaluation.findings_scores import POSITIVE_ONLY, score_f1
from evaluation.text_scores import NORMALISATION, describe_texts, most_frequent, score_text

Labeler = Callable[[Sequence[str]], np.ndarray]  # N reports -> (N, 14), 1, 0, -1 or NaN, order of FINDINGS

CONVENTIONS = {
    "reports.micro_f1_14": "rule labeler on the generated and on the real report of the same film; "
    f"{POSITIVE_ONLY}; macro over the findings that are positive on either side",
    "reports.bleu_1": f"pycocoevalcap, corpus level, one reference; {NORMALISATION}",
    "reports.baseline": "the most frequent report of the training rows (of the references, where there are "
    "none) given for every film",
    "reports.share_normal": "reports without a positive finding other than No Finding and Support Devices",
}
# The keys of this section that results.json always has, null where there was nothing to score.
KEYS = (
    "micro_f1_14",
    "macro_f1_14",
    "micro_f1_5",
    "macro_f1_5",
    "bleu_1",
    "bleu_2",
    "bleu_3",
    "bleu_4",
    "rouge_l",
    "cider",
)


def share_normal(labels: np.ndarray) -> float:
    """The share of reports (labels (N, 14)) without a positive finding that is one of the diseases."""
    columns = [c for c, name in enumerate(FINDINGS) if name not in ("No Finding", "Support Devices")]
    return float((labels[:, columns] != POSITIVE).all(axis=1).mean())


def evaluate_reports(
    references: Sequence[str],
    hypotheses: Sequence[str],
    label: Labeler,
    train_reports: Sequence[str] = (),
) -> dict[str, Any]:
    """The section `reports` of results.json, for N real reports and the N generated ones.

    Args:
        train_reports: where the most-frequent-report baseline takes its report from.

    Raises:
        ValueError: no reports, or not as many of each.
    """
    overlap = score_text(references, hypotheses)
    truth, guess = label(references), label(hypotheses)
    constant = most_frequent(train_reports or references)
    baseline = score_f1(truth, np.repeat(label([constant]), len(truth), axis=0))
    own = describe_texts(hypotheses)
    return {
        **score_f1(truth, guess),
        **overlap,
        **own,
        **{f"{name}_real": value for name, value in describe_texts(references).items()},
        "share_normal": share_normal(guess),
        "share_normal_real": share_normal(truth),
        "baseline": {
            **{name: value for name, value in baseline.items() if "f1_" in name},
            **score_text(references, [constant] * len(references)),
        },
    }
