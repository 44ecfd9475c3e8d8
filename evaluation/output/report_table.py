"""One table of several systems' reports of the same films: figures, intervals, gains (compare_reports.py)."""

from typing import Any

import numpy as np

from data_module.findings import POSITIVE
from data_module.labeler.attributes import count_right
from evaluation.reports.overlap import score_text
from evaluation.reports.variety import describe_texts, share_normal
from evaluation.statistics.findings import score_f1
from runtime.markdown import markdown_table

NOTE = """
F1 over the 14 findings, positive-only, by the rule labeler on the generated and on the real report; in
brackets its 95% interval, {num_bootstraps} bootstraps over patients; a ratio leaves draws out in which the
system compared with finds nothing. "distinct": distinct reports per 1,000 films; "normal": share of reports
without a disease (real reports: {normal:.2f}). Side and severity: right where both reports call the finding
present and the real one says it (wording of the demo source).
"""


def score_table(
    references: list[str], hypotheses: list[str], truth: np.ndarray, guess: np.ndarray
) -> dict[str, Any]:
    """Everything that is said of one system, but for its intervals."""
    f1 = score_f1(truth, guess)
    sides, severities = (count_right(references, hypotheses, name) for name in ("side", "severity"))
    return {
        "micro_f1_14": f1["micro_f1_14"],
        "macro_f1_14": f1["macro_f1_14"],
        **score_text(references, hypotheses),
        "distinct_per_1000": 1000 * describe_texts(hypotheses)["num_distinct_reports"] / len(hypotheses),
        "share_normal": share_normal(guess),
        "side_right": list(sides),
        "severity_right": list(severities),
    }


def count_by_patient(truth: np.ndarray, guess: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(P, 2) of each patient: agreeing positives, and positives of both sides together."""
    truth, guess = truth == POSITIVE, guess == POSITIVE
    names, place = np.unique(patients, return_inverse=True)
    both, either = (truth & guess).sum(axis=1), truth.sum(axis=1) + guess.sum(axis=1)
    return np.stack([np.bincount(place, weights, len(names)) for weights in (both, either)], axis=1)


def bootstrap_f1(counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Micro-F1 of each draw; `draws` (num_bootstraps, P) says how often each patient was drawn."""
    totals = draws @ counts
    return 2.0 * totals[:, 0] / np.maximum(totals[:, 1], 1.0)


def render(scores: dict[str, dict[str, Any]], against: str, r2gen: bool) -> str:
    """The Markdown table, with gains over `against` and R2Gen's two figures where they are asked for."""
    names = ["", "micro-F1-14", *([f"F1 against {against}"] if against else ()), "macro-F1-14"]
    names += ["BLEU-4", "ROUGE-L", "CIDEr", "distinct", "normal", "side", "severity"]
    names += ["R2Gen's BLEU-4", "R2Gen's ROUGE-L"] if r2gen else []
    rows = []

    def share(pair: list[int]) -> str:
        return f"{pair[0] / pair[1]:.2f} of {pair[1]}" if pair[1] else "-"

    for name, row in scores.items():
        low, high = row["micro_f1_14_interval"]
        cells = [name, f"{row['micro_f1_14']:.3f} [{low:.3f}, {high:.3f}]"]
        if against:
            change = row.get("gain")
            cells.append("{:+.1%} [{:+.1%}, {:+.1%}]".format(*change) if change else "-")
        cells += [f"{row[key]:.3f}" for key in ("macro_f1_14", "bleu_4", "rouge_l", "cider")]
        cells += [f"{row['distinct_per_1000']:.0f}", f"{row['share_normal']:.2f}"]
        cells += [share(row["side_right"]), share(row["severity_right"])]
        cells += [f"{row['r2gen'][key]:.3f}" for key in ("bleu_4", "rouge_l")] if r2gen else []
        rows.append(cells)
    return markdown_table(names, rows) + "\n"
