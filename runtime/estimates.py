"""How long a job will take, from a short measurement of its own steps (`--estimate`)."""

import time
from collections.abc import Callable

WARM_UPS = 3  # calls that also load kernels and fill caches
BUDGET_S = 10.0
MOST_CALLS = 50


def measure_s(
    action: Callable[[], object],
    agree: Callable[[int], int] = lambda count: count,
    budget_s: float = BUDGET_S,
) -> float:
    """Seconds a call takes, once it runs as it will for hours.

    Args:
        action: returns when its work is done, on an accelerator too.
        agree: the number of calls that all processes of a run make, from that of the first.
        budget_s: about how long to measure; three calls are made at least.
    """
    started_s = 0.0
    for _ in range(WARM_UPS):
        started_s = time.perf_counter()
        action()
    once_s = time.perf_counter() - started_s
    count = agree(int(min(MOST_CALLS, max(3.0, budget_s / max(once_s, 1e-9)))))
    started_s = time.perf_counter()
    for _ in range(count):
        action()
    return (time.perf_counter() - started_s) / count


def show_duration(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h" or "9.2 days"."""
    for unit, size, least in (("days", 86_400, 2 * 86_400), ("h", 3600, 5400), ("min", 60, 90)):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}" if unit == "min" else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
