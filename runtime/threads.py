"""How many threads compute and how they wait: set before torch loads, never over what the user has set.

torch's threads meet at a barrier after every kernel. By default they wait there at full speed, for so long
that where another program needs a core, they keep it from the one thread that all of them wait for.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Each asks for a way of waiting; who has set one of them has chosen.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# GNU's OpenMP, which torch's Linux packages bring: turns of a loop before a thread sleeps; 300,000 unset.
SPIN_COUNT = 1000
# LLVM's and Intel's, which macOS and conda take: milliseconds before a thread sleeps; 200 unset.
BLOCK_TIME_MS = 1


def settle_threads() -> None:
    """Set the OpenMP variables of this process and its children; once torch is loaded it is too late."""
    if "torch" not in sys.modules:
        os.environ.update(openmp_settings(os.environ))


def openmp_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to an environment, where its user has not chosen."""
    settings = {}
    if not any(name in environment for name in _WAITING):
        settings = {"GOMP_SPINCOUNT": str(SPIN_COUNT), "KMP_BLOCKTIME": str(BLOCK_TIME_MS)}
    if "OMP_NUM_THREADS" not in environment:
        beside = int(environment.get("LOCAL_WORLD_SIZE", 1))  # processes of one launcher on this machine
        settings["OMP_NUM_THREADS"] = str(max(1, usable_cores() // beside))
    return settings


def usable_cores(system: Path = Path("/")) -> int:
    """Processor cores that this process may use: of its affinity, and no more than its cgroups' quota allows.

    Args:
        system: root of the file system.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([count, *_quotas(system)])))


def _quotas(system: Path) -> list[float]:
    """Cores that the cgroups of this process grant, each group's own; empty without a limit."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = system / "sys/fs/cgroup" / ("cpu" if controllers else "")
        folder = root / group.strip("/")
        # A container sees its own group as the root, or a path that it cannot see: then the root counts.
        for place in (folder, *folder.parents):
            if not place.is_relative_to(root):
                break
            quotas += _quota(place, bool(controllers))
    return quotas


def _quota(folder: Path, first_version: bool) -> list[float]:
    try:
        if first_version:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((folder / name).read_text().strip() for name in names)
        else:
            quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return []
    return [] if quota in ("max", "-1") else [float(quota) / float(period)]
