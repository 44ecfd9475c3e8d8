"""Training steps in bfloat16 and in float32, in turns of one run: which does this processor compute faster?

    OMP_NUM_THREADS=1 python benchmarks/precision.py

Writes seconds of processor time a step (medians), and ratios to the way that `--mixed-precision auto` takes.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import processor_name
from benchmarks.training_steps import make_step
from runtime.huge_pages import restart_with_huge_pages
from runtime.precision import settle_precision

ROOT = Path(__file__).resolve().parents[1]
# Way -> precision of autocast, and whether Muon orthogonalizes in bfloat16, if not where autocast takes it.
WAYS = {"bf16": ("bf16", None), "float32, Muon in bf16": ("no", True), "float32": ("no", None)}


def measure(name: str, rounds: int) -> dict[str, object]:
    """Seconds of processor time a step by way, and how many times that of the way that auto takes."""
    ways = {way: how for way, how in WAYS.items() if name == "uvit" or "Muon" not in way}
    steps = {way: make_step(name, *how) for way, how in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in steps}
    for number in range(rounds + 1):
        for way, step in steps.items():
            started_s = time.process_time()
            step()
            if number:  # the first is warm-up
                times[way].append(time.process_time() - started_s)
    auto = "bf16" if settle_precision("auto", torch.device("cpu")) == "bf16" else "float32"
    medians = {way: statistics.median(found) for way, found in times.items()}
    return {
        "auto": auto,
        "processor_s_per_step": {way: round(value, 3) for way, value in medians.items()},
        "times auto": {way: round(value / medians[auto], 2) for way, value in medians.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="steps of each way that count")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/precision.json")
    arguments = parser.parse_args()
    results: dict[str, object] = {
        "processor": processor_name(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    for name in ("uvit", "autoencoder"):
        results[name] = measure(name, arguments.rounds)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    restart_with_huge_pages(main)  # as the training scripts do
    main()
