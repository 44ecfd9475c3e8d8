"""Training steps with memory in huge pages and without, in turns of one run.

    python benchmarks/huge_pages.py --rounds 10

Two processes of each model, one with glibc.malloc.hugetlb=1 (runtime/huge_pages.py), train for a while at a
time. Writes steps per second of processor time (medians), their ratio, and page faults a step.
"""

import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import processor_name
from benchmarks.turns import Child, answer_turns, make_parser

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"small pages": "glibc.malloc.hugetlb=0", "huge pages": "glibc.malloc.hugetlb=1"}


def train(name: str) -> None:
    """The child: steps a second of processor time, and page faults a step."""
    import torch

    from benchmarks.training_steps import make_step
    from runtime.precision import settle_precision

    step = make_step(name, settle_precision("auto", torch.device("cpu")))
    for _ in range(3):
        step()

    def work(seconds: float) -> tuple[float, float]:
        until_s, count = time.perf_counter() + seconds, 0
        started_s = time.process_time()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        while time.perf_counter() < until_s:
            step()
            count += 1
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        return count / (time.process_time() - started_s), faults / count

    answer_turns(work)


def measure(name: str, rounds: int, seconds: float) -> dict[str, object]:
    """Both ways of one model, in turns."""
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    children = {
        way: Child(__file__, name, os.environ | {"GLIBC_TUNABLES": tunables, "OMP_NUM_THREADS": "1"})
        for way, tunables in WAYS.items()
    }
    for _ in range(rounds):
        for way, child in children.items():
            found[way].append(child.work(seconds))
    for child in children.values():
        child.end()
    pairs = zip(found["huge pages"], found["small pages"], strict=True)
    ratios = sorted(huge[0] / small[0] for huge, small in pairs)
    return {
        **{way: describe(turns) for way, turns in found.items()},
        "huge over small, median of turns": round(statistics.median(ratios), 2),
        "least and most": [round(ratios[0], 2), round(ratios[-1], 2)],
    }


def describe(turns: list[list[float]]) -> dict[str, float]:
    rates, faults = zip(*turns, strict=True)
    return {
        "steps_per_processor_s": round(statistics.median(rates), 2),
        "page_faults_per_step": round(statistics.median(faults)),
    }


def main() -> None:
    arguments = make_parser(__doc__, 10, 3.0, ROOT / "benchmarks/results/huge_pages.json").parse_args()
    if arguments.child:
        train(arguments.child)
        return
    results: dict[str, object] = {"processor": processor_name(), "threads": 1, "rounds": arguments.rounds}
    for name in ("uvit", "autoencoder"):
        results[name] = measure(name, arguments.rounds, arguments.seconds)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
