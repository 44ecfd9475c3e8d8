"""Several processes of one run (`accelerate launch`): the main one acts, the others wait for its verdict."""

import os
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


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
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    outcome: list = [None, False]
    failure: Exception | None = None
    if PartialState().is_main_process:
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
