"""Where a process computes."""

import os
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

Model = TypeVar("Model", bound=nn.Module)
HALF = (torch.bfloat16, torch.float16)


def move(model: Model, device: torch.device | str) -> Model:
    """`model.to(device)`. transformers and diffusers wrap `to` so that a type checker loses its arguments."""
    return model.to(device)


def prefer_channels_last(model: Model) -> Model:
    """Lay out its convolutions as tensor cores want them; values change by rounding only."""
    return model.to(memory_format=torch.channels_last)


class HalfGroupNorm(nn.GroupNorm):
    """A group norm that keeps the half precision of its input under autocast."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.dtype not in HALF:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = _cast(self.weight, input), _cast(self.bias, input)
            return functional.group_norm(input, self.num_groups, weight, bias, self.eps)


class HalfLayerNorm(nn.LayerNorm):
    """A layer norm that keeps the half precision of its input under autocast."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.dtype not in HALF:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = _cast(self.weight, input), _cast(self.bias, input)
            return functional.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


def _cast(values: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor | None:
    return None if values is None else values.to(like.dtype)


def suit_gpu(model: Model) -> Model:
    """Lay out a model as an NVIDIA GPU's tensor cores want it, in place; values change by rounding only."""
    return norm_in_half(prefer_channels_last(model))


def norm_in_half(model: Model) -> Model:
    """Let its norms give back half precision where they are given it, as autocast's other layers do.

    autocast copies to float32 before a norm and back after the activation behind it, which moves three
    times the bytes; torch's kernels take mean and variance of half precision in float32 without it. In
    place, and names of weights stay.
    """
    halves = {nn.GroupNorm: HalfGroupNorm, nn.LayerNorm: HalfLayerNorm}
    for module in model.modules():
        if type(module) in halves:
            module.__class__ = halves[type(module)]
    return model


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
