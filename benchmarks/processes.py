"""Two processes on two cores against one on one core: pairs a second of sample_pairs.py, on a quiet machine.

    python benchmarks/processes.py --rounds 3

Each round draws a small and a large folder by one process bound to one core, and by as many as there are
cores, launched by torchrun; every process computes with one thread. The rate is that of the pairs between the
two sizes, so that imports and loading are left out; they are told beside it. The folders must have the same
bytes. A round in which others took more than --foreign of the cores is left out.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import busy_seconds, processor_name
from runtime.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
BATCH = 32


def command_of(arguments: argparse.Namespace, num_processes: int, num_pairs: int, out: Path) -> list[str]:
    """The command of a launch."""
    models = [f"--{name}={getattr(arguments, name)}" for name in ("vision", "language", "prior", "data")]
    script = [str(ROOT / "sample_pairs.py"), *models, *arguments.further]
    script += ["--num-pairs", str(num_pairs), "--batch-size", str(BATCH), "--out", str(out)]
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:num_processes]))
    bound = ["taskset", "--cpu-list", cores]
    if num_processes == 1:
        return [*bound, sys.executable, *script]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    return [*bound, sys.executable, *launcher, *script]


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and the share of the machine's cores that others took meanwhile."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    started_s, busy_s, before = time.perf_counter(), busy_seconds(), os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    clock_s, after = time.perf_counter() - started_s, os.times()
    own_s = sum(after[:4]) - sum(before[:4])
    return clock_s, max(0.0, busy_seconds() - busy_s - own_s) / (clock_s * (os.cpu_count() or 1))


def hash_films(folder: Path) -> str:
    """Of names and bytes of the films and of the table."""
    digest = hashlib.sha256()
    for path in (*sorted((folder / "images").rglob("*.png")), folder / "metadata.csv"):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def measure(arguments: argparse.Namespace, num_processes: int, scratch: Path) -> tuple[dict[str, float], str]:
    """Figures of one launch, and the hash of the large folder."""
    small = BATCH * arguments.processes
    large = small + BATCH * arguments.batches
    taken, foreign, out = {}, 0.0, scratch
    for num_pairs in (small, large):
        out = scratch / f"{num_processes}_{num_pairs}"
        shutil.rmtree(out, ignore_errors=True)
        taken[num_pairs], others = seconds_of(command_of(arguments, num_processes, num_pairs, out))
        foreign = max(foreign, others)
    rate = (large - small) / (taken[large] - taken[small])
    figures = {
        "pairs_per_s": rate,
        "start_and_end_s": taken[small] - small / rate,
        "share_of_others": foreign,
    }
    return figures, hash_films(out)


def main(argv: list[str] | None = None) -> None:
    """Measure in turns and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("vision", "language", "prior", "data"):
        place = {"vision": "uvit", "language": "bart"}.get(name, name)
        parser.add_argument(f"--{name}", type=Path, default=Path("runs/demo") / place)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batches", type=int, default=8, help=f"of {BATCH} pairs, timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--foreign", type=float, default=0.05, help="share of the cores others may take")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/processes.json")
    parser.add_argument("further", nargs="*", help="further flags of sample_pairs.py, after --")
    arguments = parser.parse_args(argv)
    rounds: dict[int, list[dict[str, float]]] = {1: [], arguments.processes: []}
    hashes = set()
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(arguments.rounds):
            found = {count: measure(arguments, count, Path(scratch)) for count in rounds}
            hashes |= {digest for _, digest in found.values()}
            if max(figures["share_of_others"] for figures, _ in found.values()) <= arguments.foreign:
                for count, (figures, _) in found.items():
                    rounds[count].append(figures)
    results: dict[str, object] = {
        "processor": processor_name(),
        "quiet_rounds": len(rounds[1]),
        "pairs_timed": BATCH * arguments.batches,
        "same_bytes": len(hashes) == 1,
    }
    if rounds[1]:
        for count, lines in rounds.items():
            results[f"{count} process(es)"] = {
                name: round(statistics.median(line[name] for line in lines), 3) for name in lines[0]
            }
        ratios = [
            many["pairs_per_s"] / one["pairs_per_s"]
            for one, many in zip(rounds[1], rounds[arguments.processes], strict=True)
        ]
        results["times_one_process"] = round(statistics.median(ratios), 3)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(arguments.out, json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
