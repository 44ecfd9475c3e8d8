"""Do prompt, synthetic film and synthetic report agree with each other?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evaluation.pairs.clip_scores import EDGES, retrieve, score_edges
from evaluation.statistics.findings import POSITIVE_ONLY, score_f1

MAX_POOL = 100  # of retrieval
# The keys of this section that results.json always has, null where there was nothing to score.
KEYS = ("report_vs_prompt_micro_f1_14", "film_report_agreement")

CONVENTIONS = {
    "pairs.report_vs_prompt_micro_f1_14": f"labeler on the synthetic report against the prompt's findings; "
    f"{POSITIVE_ONLY}",
    "pairs.film_vs_prompt_micro_f1_14": "the classifier's decisions on the synthetic film against the "
    "prompt's findings, as film_report_agreement",
    "pairs.film_report_agreement": "micro-F1 of the labeler on the report, against the classifier's "
    "decisions on the film at its stored thresholds, over the findings that the classifier scores",
    "pairs.clip_film_report": "with clip_prompt_film and clip_prompt_report: mean of 100 x cosine of the two "
    "embeddings of inputs.pairs.clip; "
    "texts are cut at its length, see num_texts_cut",
    "pairs.retrieval": "R@k: own report (film) among the k nearest of a pool of items; disjoint random "
    f"pools of the same size for synthetic and real, at most {MAX_POOL}; ties count as their expected hit",
    "pairs.num_empty_reports": "synthetic pairs without a report; they count as reports without findings",
    "pairs.intervals": "95% percentile bootstrap, patients resampled; retrieval with the pools held",
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
    """The section `pairs` of results.json, without CLIP (see `compare_embeddings`).

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


def compare_embeddings(
    synthetic: Mapping[str, np.ndarray], real: Mapping[str, np.ndarray], seed: int = 0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """CLIP scores along the triangle of prompt, film and report, and film-report retrieval.

    Args:
        synthetic, real: "prompt", "film", "report" -> (N, D) unit embeddings, NaN rows: unknown.

    Returns:
        clip_A_B (mean), clip_A_B_shuffled, clip_A_B_real; retrieval {"film_to_report", "report_to_film"} with
        r@1, r@5 and pool, and retrieval_real; pools are of the same size on both. And each item's part in the
        scores and hits, synthetic items first: (N + M,), see `measures.of_pairs`.
    """
    rng = np.random.default_rng(seed)
    result: dict[str, Any] = {}
    parts: dict[str, list[np.ndarray]] = {}
    for end, embeddings in (("", synthetic), ("_real", real)):
        for name, scores in score_edges(embeddings).items():
            result[f"{name}{end}"] = float(np.nanmean(scores)) if np.isfinite(scores).any() else None
            parts.setdefault(f"score_{name}", []).append(scores)
    order = rng.permutation(len(synthetic["film"]))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)  # no item keeps its own
    for a, b in EDGES:
        if a in synthetic and b in synthetic:
            scores = score_edges({a: synthetic[a], b: synthetic[b][other]})[f"clip_{a}_{b}"]
            result[f"clip_{a}_{b}_shuffled"] = (
                float(np.nanmean(scores)) if np.isfinite(scores).any() else None
            )
    pool = min(MAX_POOL, *(_num_known(x) for x in (synthetic, real)))
    for end, embeddings in (("", synthetic), ("_real", real)):
        found = result[f"retrieval{end}"] = {}
        for a, b in (("film", "report"), ("report", "film")):
            name = f"{a}_to_{b}"
            hits = retrieve(embeddings[a], embeddings[b], rng, pool) if pool > 1 else {}
            for k, each in hits.items():
                parts.setdefault(f"retrieval_{name}_{k}", []).append(each)
            figures = {f"r@{k}": float(np.nanmean(each)) for k, each in hits.items()}
            found[name] = {**figures, "pool": pool} if figures else None
    return result, {name: np.concatenate(each) for name, each in parts.items()}


def _num_known(embeddings: Mapping[str, np.ndarray]) -> int:
    known = [np.isfinite(embeddings[name]).all(axis=1) for name in ("film", "report")]
    return int((known[0] & known[1]).sum())
