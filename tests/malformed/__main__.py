"""Damaged files of every kind that the product reads.

    python tests/malformed --kind films --num 500 --seed 0

Each is damaged in one place and read in a process of its own. Counted are those that were read, refused with
a message, ended in a traceback, took over 10 s or 2 GB, were read as less than they held without a word, or
had code in them run.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # as pytest has it

from malformed.runner import KINDS, run_kind  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=[*KINDS, "all"], default=["all"])
    parser.add_argument("--num", type=int, default=100, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="a line for each mutation")
    args = parser.parse_args()
    failed = 0
    for kind in KINDS if "all" in args.kind else args.kind:
        started_s = time.perf_counter()
        report = run_kind(kind, args.num, args.seed, args.verbose)
        counts = ", ".join(f"{count} {name}" for name, count in sorted(report.counts.items()))
        print(f"{kind}: {args.num} damaged: {counts} ({time.perf_counter() - started_s:.0f} s)", flush=True)
        for fault in report.faults:
            print(fault, flush=True)
        failed += report.num_faults
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
