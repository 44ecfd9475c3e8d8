"""Time and memory of the evaluation suite on made-up features and reports, without networks.

    OMP_NUM_THREADS=2 python benchmarks/evaluation_speed.py [--films 10000] [--reports 10000] [--rows 100000]

Writes results/evaluation_speed.json: seconds of each figure over 10,000 films of 1,024 features and 10,000
reports, and the peak memory of all feature figures that scale over 100,000 rows (each part in a process of
its own, so that its peak is its own).
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from runtime.huge_pages import restart_with_huge_pages

NUM_FEATURES, SIDE = 1024, 256
WARM_UP = 200  # films, reports or rows, before anything is timed
WORDS = (
    *("the", "heart", "lungs", "are", "clear", "left", "right", "small", "large", "effusion", "no", "is"),
    *("seen", "edema", "pneumothorax", "with", "normal", "mild", "opacity", "base"),
)


def make_features(num: int, seed: int) -> np.ndarray:
    """(num, NUM_FEATURES) float32 of falling variance, as pooled features have."""
    scale = (1.0 / np.arange(1, NUM_FEATURES + 1)).astype(np.float32)
    return np.random.default_rng(seed).standard_normal((num, NUM_FEATURES), np.float32) * scale


def timed(parts: dict[str, float], name: str, work: Callable[[], object]) -> None:
    started_s = time.perf_counter()
    work()
    parts[name] = round(time.perf_counter() - started_s, 2)


def time_films(num: int) -> dict[str, float]:
    """Every film figure from features and probabilities at hand, and hashing of the films' files."""
    from PIL import Image

    from evaluation.images.auroc import compare_auroc
    from evaluation.images.inputs import FeatureSets, FilmInputs
    from evaluation.images.ssim import score_similarity
    from evaluation.metric import metrics_of, score_metrics
    from evaluation.networks.cache import hash_films
    from evaluation.statistics.bootstrap import draw_weights, resample
    from evaluation.statistics.weighted_estimators import calibration, ranked

    rng = np.random.default_rng(0)
    features = FeatureSets(make_features(num, 0), make_features(num, 1), make_features(num, 2))
    labels = (rng.random((num, 14)) < 0.2).astype(np.float32)
    probabilities = np.clip(0.3 * labels + rng.random((num, 14)), 0, 1).astype(np.float32)
    parts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.jpg" for i in range(min(num, 400))]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(path)
        timed(parts, f"hash_{len(paths)}_files", lambda: hash_films(paths))
        timed(parts, "ssim", lambda: score_similarity(paths, SIDE, rng))
        timed(parts, "ms_ssim", lambda: score_similarity(paths, SIDE, rng, ["one"] * len(paths)))
    metrics = [metric for metric in metrics_of("films") if metric.needs == ("features",)]
    inputs = FilmInputs(0, features)
    timed(
        parts,
        "fid_kid_prdc_vendi_floors_and_influences",
        lambda: score_metrics(metrics, inputs, ("features",)),
    )
    timed(parts, "auroc_ap_ece", lambda: compare_auroc(labels, probabilities, labels, probabilities))
    from data_module.findings import FINDINGS

    names, rows = np.arange(num).astype(str), np.ones(num, bool)
    estimators = {
        figure: ranked(labels, probabilities, rows, FINDINGS, ("ignore", "negative"), figure)
        for figure in ("auroc", "average_precision")
    }
    estimators["ece"] = calibration(labels, probabilities, rows, FINDINGS, ("ignore", "negative"))
    blocks = draw_weights(names, np.zeros(num, int), 1000, seed=0)
    timed(parts, "bootstrap_1000_auroc_ap_ece", lambda: resample(estimators, blocks))
    return parts | {"total": round(sum(parts.values()), 2)}


def time_reports(num: int) -> dict[str, float]:
    """The default report section, all made-up reports different, with its 1,000 resamples."""
    from data_module.labeler import label_reports
    from evaluation.metric import metrics_of
    from evaluation.reports.section import evaluate_reports
    from evaluation.statistics.items import intervals

    rng = np.random.default_rng(0)

    def write() -> list[str]:
        return [". ".join(" ".join(rng.choice(WORDS, size=9)) for _ in range(6)) + "." for _ in range(num)]

    references, hypotheses = write(), write()
    parts: dict[str, float] = {}
    found: list = []
    timed(parts, "figures", lambda: found.append(evaluate_reports(references, hypotheses, label_reports)))
    items = found[0][1] | {"patient": np.arange(num).astype(str), "stratum": np.ones(num, int)}
    timed(parts, "bootstrap_1000", lambda: intervals(metrics_of("reports"), items, 1000, seed=0))
    return parts | {"total": round(sum(parts.values()), 2)}


def time_memory(num: int) -> dict[str, float]:
    """FID with influences, KID and Vendi score of `num` rows on both sides."""
    from evaluation.images.fid import frechet_distance, frechet_influence
    from evaluation.images.kid import kernel_distance
    from evaluation.images.vendi import vendi_score

    a, b = make_features(num, 0), make_features(num, 1)
    parts: dict[str, float] = {}
    timed(parts, "fid", lambda: frechet_distance(a, b))
    timed(parts, "fid_influence", lambda: frechet_influence(a, b))
    timed(parts, "kid", lambda: kernel_distance(a, b, np.random.default_rng(0)))
    timed(parts, "vendi", lambda: vendi_score(a))
    return parts


def _in_child(work: Callable[[int], dict[str, float]], num: int, connection) -> None:
    work(WARM_UP)  # libraries that are imported where they are used, tables that are made at first use
    before = resource.getrusage(resource.RUSAGE_SELF)
    figures = work(num)
    used = resource.getrusage(resource.RUSAGE_SELF)
    result = {"num": num, "seconds": figures, "peak_mb": round(used.ru_maxrss / 1024)}
    # On a machine that does other work the processor time says more than the clock.
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    connection.send(result | {"processor_seconds": round(seconds, 1)})


def measure(work: Callable[[int], dict[str, float]], num: int) -> dict:
    """Figures of `work(num)` and the peak memory of the process that ran it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(work, num, sender))
    child.start()
    sender.close()
    result = receiver.recv()
    child.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag, number in (("films", 10_000), ("reports", 10_000), ("rows", 100_000)):
        parser.add_argument(f"--{flag}", type=int, default=number)
    args = parser.parse_args()
    results = {
        "films": measure(time_films, args.films),
        "reports": measure(time_reports, args.reports),
        "feature_rows": measure(time_memory, args.rows),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "machine": platform.machine(),
        "load_average": os.getloadavg()[0],
    }
    path = Path(__file__).parent / "results" / "evaluation_speed.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    restart_with_huge_pages(main)  # as `python -m evaluation` does, and so its processes
    main()
