"""Where a process computes."""

import os
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def move(model: Model, device: torch.device | str) -> Model:
    """`model.to(device)`. transformers and diffusers wrap `to` so that a type checker loses its arguments."""
    return model.to(device)


def prefer_channels_last(model: Model) -> Model:
    """Lay out its convolutions as tensor cores want them; values change by rounding only."""
    return model.to(memory_format=torch.channels_last)


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
