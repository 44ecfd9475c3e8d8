"""Work divided among machines, `--shard i/n`, and among the processes of one launch."""

import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
_POLL_S, _PATIENCE_S = 0.1, 60.0


def parse_shard(text: str) -> tuple[int, int]:
    """ "i/n" -> (i, n). Raises ValueError unless 0 <= i < n."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"--shard {text!r}: write i/n with 0 <= i < n, such as 0/4")
    return int(index), int(count)


def spread_shard(text: str) -> tuple[int, int]:
    """The part of "i/n" that falls to this process, where a launcher (torchrun, accelerate) has started
    several: together they have every n-th block from the i-th, however many they are."""
    index, count = parse_shard(text)
    rank, num_processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    return index + rank * count, count * num_processes


def describe_share(text: str, what: str = "batches") -> str:
    """A sentence for `--dry-run`: how the work of "i/n" is divided; "" where one process does all of it."""
    index, count = parse_shard(text)
    num_processes = int(os.environ.get("WORLD_SIZE", 1))
    if count * num_processes == 1:
        return ""
    part = f"1 in {count} of the {what}, from number {index} on" if count > 1 else f"all {what}"
    return f"{part}, in turns by {num_processes} process(es) of this launch"


def describe_left(text: str, left: int, what: str) -> str:
    """What a launch of the part "i/n" says at its end where work is not done: whose it is to do."""
    _, count = parse_shard(text)
    if count > 1:
        return f"{left:,} {what} are left to other shards"
    return f"{left:,} {what} are being done by the other processes of this launch"


def wait_for_others(look: Callable[[], Found], what: str) -> Found:
    """What `look` finds, once the other processes have done their part of `what` and it finds anything.

    They meet through files, so that no process group is needed.

    After a minute it says so: one of them may have ended with an error, which no launcher was there to tell.
    """
    told_s = time.monotonic() + _PATIENCE_S
    while not (found := look()):
        time.sleep(_POLL_S)
        if time.monotonic() > told_s:
            print(f"{what}: waiting for the other processes; does each still run?", file=sys.stderr)
            told_s = float("inf")
    return found
