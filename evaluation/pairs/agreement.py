"""Do prompt, synthetic film and synthetic report name the same findings?"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from evaluation.metric import Figure, Items, Metric, needed
from evaluation.pairs.inputs import PairInputs, Triple
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import Estimator, shuffle
from evaluation.statistics.findings import POSITIVE_ONLY, score_f1
from evaluation.statistics.items import REAL, SYNTHETIC

# Side of the triangle -> what is taken for the truth, what is held against it, and its title.
SIDES = {
    "report_vs_prompt": ("prompt", "report", "report against prompt"),
    "film_vs_prompt": ("prompt", "film", "film against prompt"),
    "film_report_agreement": ("film", "report", "film against report"),
}
_AVERAGES = [f"{average}_f1_{count}" for count in (14, 5) for average in ("micro", "macro")]


def _f1(reference: np.ndarray, hypothesis: np.ndarray, columns: np.ndarray | None = None) -> dict[str, Any]:
    if len(reference) == 0:
        return dict.fromkeys(_AVERAGES)
    return score_f1(reference, hypothesis, columns)


def score_agreement(
    prompt: np.ndarray, report: np.ndarray, film: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """How far prompt, report and film of N items agree.

    Args:
        prompt, report, film: (N, 14) each, see `inputs.Triple`.

    Returns:
        The keys of METRICS, the floors (X_shuffled), per_finding, num_pairs and num_readable.
    """
    readable = ~np.isnan(film).all(axis=1)
    scored = np.zeros(film.shape[1], bool)
    if readable.any():
        scored = np.asarray(~np.isnan(film[readable]).all(axis=0))
    shift = int(rng.integers(1, len(report))) if len(report) > 1 else 0
    other = shuffle(len(report), rng, shift)
    asked = _f1(prompt, report)
    agreed = _f1(film[readable], report[readable], scored)
    shown = _f1(prompt[readable], film[readable], scored)
    mixed = _f1(film[readable], report[other][readable], scored)
    return {
        **{f"report_vs_prompt_{name}": asked[name] for name in _AVERAGES},
        **{f"film_vs_prompt_{name}": shown[name] for name in _AVERAGES},
        "film_report_agreement": agreed["micro_f1_14"],
        "film_report_agreement_macro": agreed["macro_f1_14"],
        "report_vs_prompt_micro_f1_14_shuffled": _f1(prompt, report[other])["micro_f1_14"],
        "film_report_agreement_shuffled": mixed["micro_f1_14"],
        "per_finding": {
            "report_vs_prompt": asked.get("per_finding", {}),
            "film_report_agreement": agreed.get("per_finding", {}),
            "film_vs_prompt": shown.get("per_finding", {}),
        },
        "num_pairs": len(prompt),
        "num_readable": int(readable.sum()),
    }


def _compute(pairs: PairInputs, key: str, floor: str) -> Figure:
    def find(triple: Triple, end: str) -> dict[str, Any]:
        rng = pairs.rng(f"agreement{end}")
        return pairs.once(f"agreement{end}", lambda: score_agreement(*triple, rng))

    made, real = needed(pairs.synthetic), needed(pairs.real)
    found, ceiling = find(made, ""), find(real, "_real")
    more = {name: found[name] for name in ("per_finding", "num_pairs", "num_readable")}
    more |= {f"{name}_real": ceiling[name] for name in ("num_pairs", "num_readable")}
    items = {
        name: np.concatenate(sides).astype(np.float32)
        for name, sides in zip(("prompt", "report", "film"), zip(made, real, strict=True), strict=True)
    }
    return Figure(found[key], floor=found.get(floor), ceiling=ceiling[key], more=more, items=items)


def _estimate(items: Items, key: str, side: str, average: str, count: int) -> Mapping[str, Estimator]:
    reference, hypothesis, _ = SIDES[side]
    readable = ~np.isnan(items["film"]).all(axis=1)
    estimators = {}
    for end, stratum in (("", SYNTHETIC), ("_real", REAL)):
        rows, columns = items["stratum"] == stratum, None
        if "film" in (reference, hypothesis):
            rows = rows & readable
            columns = np.asarray(~np.isnan(items["film"][rows]).all(axis=0))
        estimators[f"{key}{end}"] = weighted_estimators.f1(
            items[reference], items[hypothesis], rows, average, count, columns
        )
    return estimators


def _make(
    key: str, side: str, average: str, count: int, with_floor: bool, row: bool, headline: int
) -> Metric:
    _, hypothesis, title = SIDES[side]
    decisions = "the classifier's decisions on the film at its stored thresholds"
    counted = {
        "report_vs_prompt": "labeler on the synthetic report against the prompt's findings",
        "film_vs_prompt": f"{decisions}, against the prompt's findings, over the findings that it scores",
        "film_report_agreement": f"labeler on the report, against {decisions}, over the findings that it "
        "scores",
    }
    floor = f"{key}_shuffled" if with_floor else ""
    return Metric(
        key=key,
        title=f"{title}, {average}-F1" + ("" if count == 14 else f" of {count} findings"),
        section="pairs",
        direction="higher",
        convention=f"{counted[side]}; {POSITIVE_ONLY}; ceiling: the real pairs of the split, whose finding "
        "columns stand for the prompt" + ("; floor: reports shuffled" if with_floor else ""),
        source="own definition (evaluation/pairs/agreement.py), F1 as reports.micro_f1_14",
        needs=("labels", "texts")
        if hypothesis == "report" and side != "film_report_agreement"
        else (("labels", "probabilities") if hypothesis == "film" else ("probabilities", "texts")),
        compute=partial(_compute, key=key, floor=floor),
        estimate=partial(_estimate, key=key, side=side, average=average, count=count),
        floor=floor,
        ceiling=f"{key}_real",
        row=row,
        headline=headline,
    )


METRICS = (
    _make("report_vs_prompt_micro_f1_14", "report_vs_prompt", "micro", 14, True, True, 20),
    _make("report_vs_prompt_macro_f1_14", "report_vs_prompt", "macro", 14, False, True, 0),
    _make("film_vs_prompt_micro_f1_14", "film_vs_prompt", "micro", 14, False, True, 0),
    _make("film_report_agreement", "film_report_agreement", "micro", 14, True, True, 21),
    _make("film_report_agreement_macro", "film_report_agreement", "macro", 14, False, False, 0),
    _make("film_vs_prompt_macro_f1_14", "film_vs_prompt", "macro", 14, False, False, 0),
    *(
        _make(f"{side}_{average}_f1_5", side, average, 5, False, False, 0)
        for side in ("report_vs_prompt", "film_vs_prompt")
        for average in ("micro", "macro")
    ),
)
