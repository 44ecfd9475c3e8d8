"""Several processes of one run (`accelerate launch`): the main one acts, the others wait for its verdict.

Work over many items is divided by the number that the launcher gives each process (`runtime.shards`), and
the processes meet through files: they form a process group for the beginning alone, so that none waits hours
at a barrier, and one that is done ends.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from runtime.locks import Claim

if TYPE_CHECKING:
    from accelerate import PartialState

Result = TypeVar("Result")


def process_state() -> "PartialState":
    """accelerate's state of this process among those of the run; joins them at the first call.

    Without an accelerator accelerate takes processes for a run only when told so: `torchrun` alone would
    train each of them for itself, in one folder.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


def is_main() -> bool:
    """Whether this is the first process of a launch, or the only one; joins no process group."""
    return int(os.environ.get("RANK", 0)) == 0


def on_main(action: Callable[[], Result]) -> Result:
    """What `action` returns on the main process, in every process; every one of the run must call this.

    Args:
        action: its result is copied to the others: plain values.

    Raises:
        ValueError, OSError: as `action` does, in the main process.
        SystemExit: in the others, of which none repeats the message.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:  # the usual case needs no training engine
        return action()
    from accelerate.utils import broadcast_object_list

    outcome: list = [None, False]
    failure: Exception | None = None
    if process_state().is_main_process:
        try:
            outcome = [action(), False]
        except (ValueError, OSError) as error:
            failure, outcome = error, [None, True]
    broadcast_object_list(outcome)
    if failure is not None:
        raise failure
    if outcome[1]:
        raise SystemExit(2)
    return outcome[0]


@contextmanager
def claim_together(claim: Claim, prepare: Callable[[Claim], None]) -> Iterator[Claim]:
    """Hold each process's claim (its shard of one place) after the main one has prepared what they share.

    Args:
        prepare: called in the main process alone, which holds its claim, before any other works.

    Raises:
        ValueError, OSError: another run has the place or the shard; or as `prepare` does.
        SystemExit: the same, in the other processes of the launch.
    """
    with ExitStack() as stack:
        on_main(lambda: prepare(stack.enter_context(claim)))
        _leave_group()
        if not is_main():
            stack.enter_context(claim)
        yield claim


def _leave_group() -> None:
    """What follows needs none, and a group wants its members to end together."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        process_state().destroy_process_group()
