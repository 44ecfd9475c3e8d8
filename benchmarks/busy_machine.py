"""Training of the demo's U-ViT on a quiet machine and beside one busy process, by way of waiting, in one run.

    python benchmarks/busy_machine.py --rounds 12

A process of each way trains for a while at a time, in turns, with and without the neighbor. Turns in which
the rest of the machine took more than --foreign of it are left out. Where others never rest, --crowded (as
root) lets a quiet turn run before everyone (SCHED_FIFO), and a busy one and its neighbor at niceness -20:
then others fill the gaps only, so --foreign 1. Writes items/s (medians) and their ratios.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.turns import Child, answer_turns, make_parser
from runtime.threads import openmp_settings

ROOT = Path(__file__).resolve().parents[1]
OPENMP = ("OMP_", "GOMP_", "KMP_")
NEIGHBOR = "while True: pass"


def ways(cores: int, spins: list[int]) -> dict[str, dict[str, str]]:
    """Name -> OpenMP variables."""
    threads = {"OMP_NUM_THREADS": str(cores)}
    found = {
        "ours": openmp_settings({}) | threads,
        "torch's own": threads,
        "passive": {"OMP_WAIT_POLICY": "passive", **threads},
        "one thread": {"OMP_NUM_THREADS": "1"},
    }
    return found | {f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count), **threads} for count in spins}


def train(precision: str) -> None:
    """The child: items a second of training the demo's U-ViT."""
    from benchmarks.training_steps import BATCH, make_step

    step = make_step("uvit", precision)

    def work(seconds: float) -> tuple[float]:
        started_s, count = time.perf_counter(), 0
        while time.perf_counter() - started_s < seconds:
            step()
            count += 1
        return (count * BATCH / (time.perf_counter() - started_s),)

    for _ in range(3):
        step()
    answer_turns(work)


def busy_seconds() -> float:
    """Seconds that all cores together were not idle since the start of the machine."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def own_seconds(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def put_first(pid: int, before_everyone: bool) -> None:
    """Every thread of a process: before all that are scheduled as usual, or as usual at niceness -20."""
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        policy = os.SCHED_FIFO if before_everyone else os.SCHED_OTHER
        os.sched_setscheduler(thread, policy, os.sched_param(50 if before_everyone else 0))
        os.setpriority(os.PRIO_PROCESS, thread, -20)


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Items/s of the turns that count: way -> {"quiet": [...], "busy": [...]}."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OPENMP)}
    chosen = ways(arguments.cores, arguments.spins)
    children = {
        name: Child(__file__, arguments.precision, clean | settings) for name, settings in chosen.items()
    }
    neighbor = subprocess.Popen([sys.executable, "-c", NEIGHBOR])
    rates: dict[str, dict[str, list[float]]] = {name: {"quiet": [], "busy": []} for name in chosen}
    cores = os.cpu_count() or 1
    try:
        for _ in range(arguments.rounds):
            for name, child in children.items():
                for state in ("quiet", "busy"):
                    neighbor.send_signal(signal.SIGCONT if state == "busy" else signal.SIGSTOP)
                    if arguments.crowded:
                        put_first(child.process.pid, state == "quiet")
                        os.setpriority(os.PRIO_PROCESS, neighbor.pid, -20)
                    # The kernel takes processes that run before everyone off for a twentieth of each second.
                    time.sleep(0.5 if arguments.crowded else 0.05)
                    pids = (child.process.pid, neighbor.pid)
                    started_s, busy, own = time.perf_counter(), busy_seconds(), sum(map(own_seconds, pids))
                    (rate,) = child.work(arguments.seconds)
                    elapsed_s = time.perf_counter() - started_s
                    foreign = (busy_seconds() - busy) - (sum(map(own_seconds, pids)) - own)
                    if foreign <= arguments.foreign * cores * elapsed_s:
                        rates[name][state].append(rate)
    finally:
        for child in children.values():
            child.end()
        neighbor.kill()
    return rates


def summarize(rates: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float | list[int]]]:
    """Medians, and what the claims are about: busy over quiet, and quiet over the best way's quiet."""
    middle = {
        name: {state: statistics.median(found) if found else float("nan") for state, found in states.items()}
        for name, states in rates.items()
    }
    best = max(value["quiet"] for value in middle.values())
    return {
        name: {
            "quiet_items_per_s": round(value["quiet"], 1),
            "busy_items_per_s": round(value["busy"], 1),
            "busy_over_quiet": round(value["busy"] / value["quiet"], 3),
            "quiet_over_best": round(value["quiet"] / best, 3),
            "turns": [len(rates[name]["quiet"]), len(rates[name]["busy"])],
        }
        for name, value in middle.items()
    }


def main() -> None:
    parser = make_parser(__doc__, 12, 1.0, ROOT / "benchmarks/results/busy_machine.json")
    parser.add_argument("--foreign", type=float, default=0.05, help="share of the machine others may take")
    parser.add_argument("--crowded", action="store_true", help="others never rest; needs root")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="threads")
    parser.add_argument("--spins", type=int, nargs="*", default=[], help="further spin counts to try")
    parser.add_argument("--precision", choices=("bf16", "no"), default="bf16")
    arguments = parser.parse_args()
    if arguments.child:
        train(arguments.child)
        return
    results = {
        "processor": processor_name(),
        "threads": arguments.cores,
        "precision": arguments.precision,
        "crowded": arguments.crowded,
        "ways": summarize(measure(arguments)),
    }
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
