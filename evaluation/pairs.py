"""Do prompt, synthetic film and synthetic report agree with each other?"""

from typing import Any

import numpy as np

from evaluation.findings_scores import POSITIVE_ONLY, score_f1

CONVENTIONS = {
    "pairs.report_vs_prompt_micro_f1_14": f"labeler on the synthetic report against the prompt's findings; "
    f"{POSITIVE_ONLY}",
    "pairs.film_report_agreement": "micro-F1 of the labeler on the report, against the classifier's "
    "decisions on the film at its stored thresholds, over the findings that the classifier scores",
    "pairs.*_real": "the same figure on the real pairs of the split, whose finding columns stand for the "
    "prompt: the ceiling",
    "pairs.*_shuffled": "the same figure with each item's report (or film) given to another item: the floor",
}


def _f1(reference: np.ndarray, hypothesis: np.ndarray, columns: np.ndarray | None = None) -> dict[str, Any]:
    if len(reference) == 0:
        return {"micro_f1_14": None, "macro_f1_14": None, "micro_f1_5": None, "macro_f1_5": None}
    return score_f1(reference, hypothesis, columns)


def compare_pairs(
    prompt: np.ndarray, report: np.ndarray, film: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """How far prompt, report and film of N items agree.

    Args:
        prompt: (N, 14) the findings asked for, 1, 0, -1 or NaN.
        report: (N, 14) the labeler's reading of the report.
        film: (N, 14) the classifier's decisions, 1, 0; NaN columns: not scored; NaN rows: unreadable film.
    """
    readable = ~np.isnan(film).all(axis=1)
    scored = ~np.isnan(film[readable]).all(axis=0) if readable.any() else np.zeros(film.shape[1], bool)
    shift = rng.integers(1, len(report)) if len(report) > 1 else 0
    order = rng.permutation(len(report))
    other = np.empty_like(order)
    other[order] = np.roll(order, shift)  # no item keeps its own
    asked = _f1(prompt, report)
    agreed = _f1(film[readable], report[readable], scored)
    shown = _f1(prompt[readable], film[readable], scored)
    result: dict[str, Any] = {}
    for name in ("micro_f1_14", "macro_f1_14", "micro_f1_5", "macro_f1_5"):
        result[f"report_vs_prompt_{name}"] = asked[name]
        result[f"film_vs_prompt_{name}"] = shown[name]
    result["film_report_agreement"] = agreed["micro_f1_14"]
    result["film_report_agreement_macro"] = agreed["macro_f1_14"]
    result["report_vs_prompt_micro_f1_14_shuffled"] = _f1(prompt, report[other])["micro_f1_14"]
    result["film_report_agreement_shuffled"] = _f1(film[readable], report[other][readable], scored)[
        "micro_f1_14"
    ]
    result["per_finding"] = {
        "report_vs_prompt": asked.get("per_finding", {}),
        "film_report_agreement": agreed.get("per_finding", {}),
        "film_vs_prompt": shown.get("per_finding", {}),
    }
    result["num_pairs"], result["num_readable"] = len(prompt), int(readable.sum())
    return result


def evaluate_pairs(
    synthetic: tuple[np.ndarray, np.ndarray, np.ndarray],
    real: tuple[np.ndarray, np.ndarray, np.ndarray],
    seed: int = 0,
) -> dict[str, Any]:
    """The section `pairs` of results.json.

    Args:
        synthetic, real: (prompt findings, report labels, film decisions), each (N, 14), see `compare_pairs`.
    """
    rng = np.random.default_rng(seed)
    result = compare_pairs(*synthetic, rng)
    ceiling = compare_pairs(*real, rng)
    for name, value in ceiling.items():
        if name != "per_finding" and not name.endswith("_shuffled"):
            result[f"{name}_real"] = value
    return result
