"""The headline figures of each section as functions of resampling weights, from saved items.

OUT/items/SECTION.npz keeps what each film, report or pair adds to the figures, so that intervals, and
differences to another system, need nothing else: `name` and `patient` (N,), `stratum` (N,) 0 synthetic and
1 real, and the arrays named in the functions below.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evaluation.privacy.distances import MEASURES as DISTANCES
from evaluation.statistics import weighted
from evaluation.statistics.bootstrap import Measure, draw_weights, percentile_interval, resample
from evaluation.statistics.findings import is_normal, positive_sides
from runtime.files import reading, write_atomic

Items = Mapping[str, np.ndarray]
SYNTHETIC, REAL = 0, 1
INFLUENCED = ("fid", "kid", "vendi")  # given by their value and each film's influence on it
MANIFOLD = ("precision", "recall", "density", "coverage")


def of_films(items: Items) -> dict[str, Measure]:
    """Measures of `labels`, `probabilities` (N, 14), `findings`, `policy`; of `X` and `X_influence` (N,);
    of `score_X` (N,), NaN where a film does not count; and of `X_values` (P,) of film pairs `X_pairs` (P, 2).
    """
    synthetic = items["stratum"] == SYNTHETIC
    labels, probabilities, policy = items["labels"], items["probabilities"], tuple(items["policy"].tolist())
    findings = items["findings"].tolist()
    measures: dict[str, Measure] = {}
    for end, rows in (("", synthetic), ("_real", ~synthetic)):
        asked = (labels, probabilities, rows, findings, policy)
        for figure in ("auroc", "average_precision"):
            measures[f"{figure}_mean{end}"] = weighted.ranked(*asked, figure)
        measures[f"ece_mean{end}"] = weighted.calibration(*asked)
        for name in ("ssim", "ms_ssim_within_prompt"):
            pairs = items[f"{name}_pairs{end}"]
            if len(pairs):
                measures[f"{name}{end}"] = weighted.mean_of_pairs(items[f"{name}_values{end}"], pairs)
    for name in INFLUENCED:
        measures[name] = weighted.linear(float(items[name]), items[f"{name}_influence"])
    for name in MANIFOLD:
        if f"score_{name}" in items:  # not for a handful of films
            measures[name] = weighted.mean_of(items[f"score_{name}"])
    return measures


def of_reports(items: Items) -> dict[str, Measure]:
    """Measures of `truth` and `guess` (N, 14), `bleu_counts` (N, 10) and every `score_*` (N,)."""
    truth, guess = items["truth"], items["guess"]
    rows = np.ones(len(truth), bool)
    measures = {
        f"{average}_f1_{count}": weighted.f1(truth, guess, rows, average, count)
        for count in (14, 5)
        for average in ("micro", "macro")
    }
    for policy in ("positive", "ignore"):
        sides = positive_sides(truth, guess, policy)
        for count in (14, 5):
            for average in ("micro", "macro"):
                measures[f"clinical.{policy}.{average}_f1_{count}"] = weighted.f1(
                    *sides, rows, average, count
                )
    measures["share_normal"] = weighted.mean_of(is_normal(guess).astype(np.float64))
    measures |= {f"bleu_{n}": weighted.bleu(items["bleu_counts"], n) for n in (1, 2, 3, 4)}
    for key in items:
        if key.startswith("score_"):
            measures[key.removeprefix("score_")] = weighted.mean_of(items[key])
    return measures


def of_pairs(items: Items) -> dict[str, Measure]:
    """Measures of `prompt`, `report`, `film` (N, 14), `score_X` and `retrieval_X_k` (N,), of both sets."""
    measures: dict[str, Measure] = {}
    readable = ~np.isnan(items["film"]).all(axis=1)
    for end, stratum in (("", SYNTHETIC), ("_real", REAL)):
        rows = items["stratum"] == stratum
        seen = rows & readable
        columns = ~np.isnan(items["film"][seen]).all(axis=0)
        edges = {
            "report_vs_prompt": ("prompt", "report", rows, None),
            "film_vs_prompt": ("prompt", "film", seen, columns),
        }
        for name, (reference, hypothesis, used, scored) in edges.items():
            for average in ("micro", "macro"):
                measures[f"{name}_{average}_f1_14{end}"] = weighted.f1(
                    items[reference], items[hypothesis], used, average, columns=scored
                )
        for name, average in (("", "micro"), ("_macro", "macro")):
            measures[f"film_report_agreement{name}{end}"] = weighted.f1(
                items["film"], items["report"], seen, average, columns=columns
            )
        for key in items:
            if key.startswith("score_"):
                measures[f"{key.removeprefix('score_')}{end}"] = weighted.mean_of(items[key], rows)
            elif key.startswith("retrieval_"):
                direction, k = key.removeprefix("retrieval_").rsplit("_", 1)
                measures[f"retrieval{end}.{direction}.r@{k}"] = weighted.mean_of(items[key], rows)
    return measures


def of_privacy(items: Items) -> dict[str, Measure]:
    """Measures of the distances `pixels`, `features`, `registered` (N,), and of `near_X`, what is close."""
    synthetic = items["stratum"] == SYNTHETIC
    measures: dict[str, Measure] = {}
    for name in DISTANCES:
        values = items[name]
        measures[f"{name}.ratio"] = weighted.ratio(
            weighted.median_of(values, synthetic), weighted.median_of(values, ~synthetic)
        )
        close = (values < float(items[f"near_{name}"])).astype(np.float64)
        measures[f"{name}.share_close"] = weighted.mean_of(close, synthetic)
    return measures


SECTION_MEASURES = {"films": of_films, "reports": of_reports, "pairs": of_pairs, "privacy": of_privacy}


def intervals(section: str, items: Items, num: int, seed: int) -> dict[str, list[float] | None]:
    """95% percentile bootstrap interval of each measure of a section, patients resampled; {} for num = 0."""
    measures = SECTION_MEASURES[section](items)
    drawn = resample(measures, draw_weights(items["patient"], items["stratum"], num, seed))
    return {name: percentile_interval(values) for name, values in drawn.items()} if num else {}


def save_items(path: Path, items: Items) -> None:
    """Write a section's items as .npz, without pickles."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **items)
    write_atomic(path, stream.getvalue())


def load_items(path: Path) -> dict[str, np.ndarray]:
    """A section's items. ValueError where the file is not whole."""
    with reading(path, fix="score the folder again"), np.load(path, allow_pickle=False) as saved:
        return {key: saved[key] for key in saved.files}
