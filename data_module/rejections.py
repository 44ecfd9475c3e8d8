"""Draws that failed a test of `sample_pairs.py --keep`: which, why, and how many."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from runtime.files import write_atomic

REJECTED = "rejected.csv"  # in a synthetic folder: item, try, reasons
# Item -> why its draws failed, "TEST (ERROR, ERROR); TEST ...", in order; "" for one that was kept even so.
Rejected = Mapping[int, Sequence[str]]


def count_errors(failed: Sequence[str]) -> int:
    """Errors that the failed tests of a draw name, "TEST (ERROR, ERROR)"."""
    return sum(test.count(", ") + 1 for test in failed)


def write_rejected(path: Path, rejected: Rejected) -> None:
    """A row for each rejected draw; tries are counted from 1."""
    draws = [
        {"item": item, "try": number, "reasons": reasons}
        for item, tries in rejected.items()
        for number, reasons in enumerate(tries, start=1)
        if reasons
    ]
    write_atomic(path, pd.DataFrame(draws, columns=["item", "try", "reasons"]).to_csv(index=False))


def count_rejected(
    rejected: Rejected, asked: Mapping[int, Sequence[str]], kept: Mapping[int, bool]
) -> dict[str, Any]:
    """How many draws were made, kept and rejected, by which test (they may fail several), and what was lost.

    Args:
        rejected: of all items, also of those without a rejected draw.
        asked: item -> the findings that it was asked to show.
        kept: items of which a draw was kept -> whether it fails a test.
    """
    num_kept, passed = len(kept), [item for item, fails in kept.items() if not fails]
    wanted, found = (Counter(name for item in items for name in asked[item]) for items in (rejected, passed))
    reasons = [reason for tries in rejected.values() for reason in tries if reason]
    by_test = Counter(test.partition(" (")[0] for reason in reasons for test in reason.split("; "))
    return {
        "num_draws": num_kept + len(reasons),
        "num_kept": num_kept,
        "num_rejected": len(reasons),
        "rejected_by": dict(sorted(by_test.items())),
        "num_items_lost": len(rejected) - num_kept,
        "num_kept_failing": num_kept - len(passed),
        "share_kept": num_kept / (num_kept + len(reasons)),
        "share_first_kept": sum(not tries for tries in rejected.values()) / len(rejected),
        "kept_by_finding": {name: [found[name], number] for name, number in sorted(wanted.items())},
    }
