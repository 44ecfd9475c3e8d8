"""What reading films costs beside the extractor's own forward pass, in one run.

    python benchmarks/extraction_overhead.py [--films 512] [--batch-size 64] [--rounds 3]

The films are PNGs of 256x256: demo phantoms with grain, which compress like real films. The path of
`python -m evaluation` is hashing, decoding, cropping, scoring and saving (`score_cached`); "bare" is the same
network on the same films as tensors in memory. Both run in turns; the figures are processor time of all
threads, which other work on the machine disturbs less than the clock, with wall time beside them. Extractors:
torchxrayvision's DenseNet-121 and the classifiers of both presets of train_classifier.py, all with random
weights. Writes results/extraction_overhead.json.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_module.demo.source import generate_studies
from data_module.images import load_images
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from train_classifier import PRESETS
from vision_module.classifier import build_classifier, save_classifier

SIDE, GRAIN = 256, 3.0


def make_films(folder: Path, num: int) -> list[Path]:
    """Phantoms of SIDE x SIDE pixels with grain, as PNG."""
    rng = np.random.default_rng(0)
    paths = []
    for number, study in enumerate(generate_studies(num, SIDE)):
        pixels = study.pixels + rng.normal(0, GRAIN, (SIDE, SIDE))
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def open_extractors(folder: Path) -> dict[str, FilmClassifier]:
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    torch.save(DenseNet(num_classes=18).state_dict(), folder / "xrv.pt")
    found = {"torchxrayvision DenseNet-121": FilmClassifier.open(f"torchxrayvision:{folder / 'xrv.pt'}")}
    for name, config in PRESETS.items():
        save_classifier(build_classifier(config.size).eval(), folder / name, config.image_size, {})
        found[f"classifier, preset {name}"] = FilmClassifier.open(folder / name)
    return found


def clock(work: Callable[[], object]) -> np.ndarray:
    """Seconds of the processor and of the wall."""
    started = np.array([time.process_time(), time.perf_counter()])
    work()
    return np.array([time.process_time(), time.perf_counter()]) - started


def compare(extractor: FilmClassifier, paths: list[Path], batch_size: int, rounds: int) -> dict[str, float]:
    films = load_images(paths, extractor.image_size)

    def score_bare() -> None:
        for start in range(0, len(films), batch_size):
            extractor.score(films[start : start + batch_size])

    extractor.score(films[:batch_size])  # once unmeasured: the first call sets up kernels
    bare, whole = np.zeros(2), np.zeros(2)
    for _ in range(rounds):
        bare += clock(score_bare)
        with tempfile.TemporaryDirectory() as cache:
            whole += clock(lambda cache=cache: score_cached(extractor, paths, Path(cache), batch_size))
    num = rounds * len(paths)
    (bare_cpu, bare_wall), (whole_cpu, whole_wall) = bare / num * 1000.0, whole / num * 1000.0
    return {
        "image_size": extractor.image_size,
        "bare_cpu_ms": round(bare_cpu, 3),
        "whole_cpu_ms": round(whole_cpu, 3),
        "overhead_cpu": round(whole_cpu / bare_cpu - 1.0, 3),
        "reading_cpu_ms": round(whole_cpu - bare_cpu, 3),
        "bare_films_per_s": round(1000.0 / bare_wall, 1),
        "whole_films_per_s": round(1000.0 / whole_wall, 1),
        "overhead_wall": round(whole_wall / bare_wall - 1.0, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag, number in (("films", 512), ("batch-size", 64), ("rounds", 3)):
        parser.add_argument(f"--{flag}", type=int, default=number)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        paths = make_films(Path(name), args.films)
        extractors = open_extractors(Path(name))
        results = {
            key: compare(each, paths, args.batch_size, args.rounds) for key, each in extractors.items()
        }
        size = sum(path.stat().st_size for path in paths) / len(paths)
    record = {
        "films": args.films,
        "mean_file_kb": round(size / 1024, 1),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "extractors": results,
    }
    path = Path(__file__).parent / "results" / "extraction_overhead.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
