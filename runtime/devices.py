"""Where a process computes."""

import os

import torch


def pick_device() -> torch.device:
    """The accelerator of this process where there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator and "LOCAL_RANK" in os.environ:  # of a launcher: each process encodes on its own
        return torch.device(accelerator.type, int(os.environ["LOCAL_RANK"]))
    return accelerator or torch.device("cpu")


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of a --device flag: "auto" is the accelerator where there is one.

    Raises:
        ValueError: torch knows no such device.
    """
    if name == "auto":
        return pick_device()
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
