"""Start-up of every script: this checkout beside an earlier one, in turns, in one run.

    git worktree add /path/before COMMIT
    python benchmarks/startup.py --before /path/before

Measures `--help` of every script, and a tiny chain's time from the command to the first training step and to
the first film. Processor seconds (user and system) stand beside seconds by the clock: on a busy machine the
clock says little. Medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.busy_machine import own_seconds, processor_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("evaluation", "data_module", "training")
TINY = "--num-steps 2 --batch-size 4 --warmup-steps 0 --data data"
CHAIN = (
    "prepare_data.py demo --out data --num-studies 80 --num-workers 1",
    f"train_autoencoder.py {TINY} --out autoencoder --block-out-channels 8 8 8",
    f"train_clip.py {TINY} --out clip --width 32 --num-layers 1 --patch-size 16",
    f"train_diffusion_clipUViT.py {TINY} --out uvit --autoencoder autoencoder --clip clip --embed-dim 32 "
    "--depth 3 --num-heads 2",
)
# Command, and the file whose first content says that work has begun.
FIRST = {
    "first step": (CHAIN[3].replace("--out uvit", "--out {out} --log-every 1"), "metrics.jsonl"),
    "first film": (
        "sample_pairs.py --vision uvit --data data --films-only --num-pairs 1 --num-inference-steps 1 "
        "--out {out}",
        "metadata.csv",
    ),
}


def run(checkout: Path, command: str, folder: Path, until: Path | None = None) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, until the command ends or the file has content."""
    target, *flags = command.split()
    line = [str(checkout / target)] if target.endswith(".py") else ["-m", target]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    started_s, used_s = time.perf_counter(), 0.0
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen(
            [sys.executable, *line, *flags], cwd=folder, env=environment, stdout=nothing, stderr=nothing
        )
        # Looked at rather than waited for: a process that was waited for tells its seconds no more.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if until and until.is_file() and until.stat().st_size:
                break
            time.sleep(0.01)
        elapsed_s, used_s = time.perf_counter() - started_s, own_seconds(process.pid)
        ended = process.poll()
        process.kill()
        process.wait()
    if ended:
        raise SystemExit(f"{checkout}: {command} ended with {ended}")
    return elapsed_s, used_s


def compare(
    checkouts: dict[str, Path], command: str, folder: Path, rounds: int, first: str = ""
) -> dict[str, object]:
    """Medians of each checkout, and the ratio of their processor seconds.

    Args:
        command: with {out}, a name that no other run has.
        first: file in it that ends the measurement; empty: the command's end does.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    for number in range(rounds):
        for name, checkout in checkouts.items():
            out = f"{first.partition('.')[0]}_{name}_{number}"
            until = folder / out / first if first else None
            found[name].append(run(checkout, command.format(out=out), folder, until))
    seconds: dict[str, dict[str, float]] = {}
    for name, pairs in found.items():
        clock, processor = (statistics.median(values) for values in zip(*pairs, strict=True))
        seconds[name] = {"clock_s": round(clock, 2), "processor_s": round(processor, 2)}
    result: dict[str, object] = {**seconds}
    if len(seconds) == 2:
        before, after = (values["processor_s"] for values in seconds.values())
        result["after_over_before"] = round(after / before, 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/startup.json")
    arguments = parser.parse_args()
    checkouts = {"before": arguments.before.resolve()} if arguments.before else {}
    checkouts["after"] = ROOT
    results: dict[str, object] = {"processor": processor_name(), "rounds": arguments.rounds}
    targets = [*(path.name for path in sorted(ROOT.glob("*.py"))), *PACKAGES]
    with tempfile.TemporaryDirectory() as name:
        folder, rounds = Path(name), arguments.rounds
        results["help"] = {
            target: compare(checkouts, f"{target} --help", folder, rounds) for target in targets
        }
        for command in CHAIN:
            run(ROOT, command, folder)
        for what, (command, first) in FIRST.items():
            results[what] = compare(checkouts, command, folder, rounds, first)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
