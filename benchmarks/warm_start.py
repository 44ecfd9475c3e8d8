"""Stages started by themselves and as forks of one Python (experiments/warm_start.py), in turns in one run.

    OMP_NUM_THREADS=1 python benchmarks/warm_start.py --stage "train_classifier.py --data runs/demo/data"

Each round runs the same training twice either way, of one step and of --num-steps: what the first takes is
start-up, what the second takes beyond it is training. Ratios are medians over the rounds, with the least and
the greatest.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import processor_name
from benchmarks.turns import run_as_scripts_do
from runtime.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
WARM_START = str(ROOT / "experiments" / "warm_start.py")


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The socket that stages are asked for at, in a new `folder`, and the process they are forked from.

    Raises:
        RuntimeError: that process ends before it is ready.
        TimeoutError: it is not ready within two minutes.
    """
    folder.mkdir()
    path = folder / "socket"
    command = [sys.executable, WARM_START, "serve", str(path)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, env=dict(environment))
    until_s = time.monotonic() + 120
    try:
        while not path.exists():
            if server.poll() is not None:
                raise RuntimeError(f"{command} ended with {server.returncode}")
            if time.monotonic() > until_s:
                raise TimeoutError(f"{command} is not ready")
            time.sleep(0.1)
        yield path, server
    finally:
        server.communicate(timeout=30)  # its standard input ends, and so does it


def seconds_of(command: Sequence[str]) -> float:
    """Of the clock, for a command that must not fail."""
    started_s = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started_s


def compare(stage: str, num_steps: int, rounds: int, scratch: Path) -> dict[str, object]:
    """Seconds of start-up and of training, by either way, and their ratios."""
    ways = {"alone": [sys.executable], "forked": [sys.executable, WARM_START, "run"]}
    taken: dict[str, dict[str, list[float]]] = {
        part: {way: [] for way in ways} for part in ("start", "training")
    }
    command = [*shlex.split(stage), "--out", str(scratch / "run"), "--overwrite"]
    with serving(scratch / "own", run_as_scripts_do(os.environ)) as (socket, _):
        ways["forked"].append(str(socket))
        for _ in range(rounds):
            for way, python in ways.items():
                start_s, whole_s = (
                    seconds_of([*python, *command, "--num-steps", str(steps)]) for steps in (1, 1 + num_steps)
                )
                taken["start"][way].append(start_s)
                taken["training"][way].append(whole_s - start_s)
    result: dict[str, object] = {
        "processor": processor_name(),
        "stage": stage,
        "rounds": rounds,
        "num_steps": num_steps,
    }
    for part, seconds in taken.items():
        ratios = sorted(b / a for a, b in zip(seconds["alone"], seconds["forked"], strict=True))
        result[part] = {
            **{f"{way}_s": statistics.median(values) for way, values in seconds.items()},
            "forked_over_alone": statistics.median(ratios),
            "least_to_most": [ratios[0], ratios[-1]],
        }
    return result


def main(argv: list[str] | None = None) -> None:
    """Time both ways and write what they took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stage",
        default="train_classifier.py",
        help="a training script and flags, but --out and --num-steps",
    )
    parser.add_argument("--rounds", type=int, default=4, help="turns of each way")
    parser.add_argument("--num-steps", type=int, default=150, help="steps of a training")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/warm_start.json"))
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(args.stage, args.num_steps, args.rounds, Path(scratch))
    write_atomic(args.out, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
