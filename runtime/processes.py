"""Several processes of one run (`accelerate launch`): the main one acts, the others wait for its verdict."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

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
