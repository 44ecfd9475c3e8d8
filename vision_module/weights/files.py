"""Published weights: read without running what is in them, and loaded with every key accounted for."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

Weights = dict[str, torch.Tensor]


def read_weights(path: Path, expected: str) -> Weights:
    """Name -> tensor of a .safetensors file, or of a pickled one (.pth, .pt, .bin, .ckpt).

    Pickles are read with `weights_only=True`, so no code in them runs. The `state_dict` of a Lightning or
    LDM checkpoint is taken out of it.

    Args:
        expected: what the file should hold, for the message.

    Raises:
        ValueError: the file is missing, cannot be read, or holds something other than tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected {expected}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path}: expected {expected}, found a file that cannot be read: {reason}"
        ) from error
    while isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        found = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            found = f"a dict with the keys {', '.join(list(map(str, content))[:5])}"
        raise ValueError(f"{path}: expected {expected}, found {found}")
    return dict(content)


def take(weights: Weights, prefix: str) -> Weights:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def load_exactly(model: nn.Module, weights: Weights, path: Path, expected: str) -> str:
    """Load weights that must fit the model name by name.

    Returns:
        A line that says what was loaded.

    Raises:
        ValueError: names that are missing, unexpected, or of another shape.
    """
    own = model.state_dict()
    missing, unexpected = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [
        f"{name} {tuple(weights[name].shape)} in the place of {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(weights))
        if weights[name].shape != own[name].shape
    ]
    if missing or unexpected or wrong:
        parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        found = "; ".join(f"{title}: {shorten(names)}" for title, names in parts if names)
        raise ValueError(
            f"{path}: expected {expected}, {len(own)} tensors; found {len(weights)}, and of them {found}"
        )
    model.load_state_dict(weights)
    return f"{expected}: all {len(own)} tensors loaded"


def shorten(names: list[str], count: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
