"""timm's networks with weights from a local file: what `timm:NAME:FILE` means to any flag."""

import pickle
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

PREFIX = "timm:"


def open_timm(source: str, flag: str) -> nn.Module:
    """The frozen network that `timm:NAME:FILE` names, in evaluation mode; nothing is downloaded.

    The file's tensors are matched by name. Where names differ, as in EfficientNet weights that other
    packages carry, they are matched in their order, if every shape and every last part of a name agrees.
    `pretrained_cfg` of the network says its input: size, mean and deviation.

    Raises:
        ValueError: an unknown network, no such file, or weights of another network.
    """
    name, _, file = source.removeprefix(PREFIX).partition(":")
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise ValueError(f"{flag} {source}: no weights file; give {PREFIX}NAME:FILE")
    if not timm.is_model(name):
        raise ValueError(f"{flag} {source}: timm knows no network {name!r}")
    network = timm.create_model(name, pretrained=False)
    wanted, found = network.state_dict(), _read(path, f"{flag} {source}")
    if wanted.keys() != found.keys():
        kinds = [[(key.rsplit(".", 1)[-1], value.shape) for key, value in w.items()] for w in (wanted, found)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{flag} {source}: {path.name} holds the weights of another network")
        found = dict(zip(wanted, found.values(), strict=True))
    try:
        network.load_state_dict(found)
    except RuntimeError:
        raise ValueError(f"{flag} {source}: {path.name} holds weights of other shapes") from None
    return network.requires_grad_(False).eval()


def _read(path: Path, said: str) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{said}: cannot be read as weights ({type(error).__name__})") from error
    if not isinstance(weights, dict) or not all(torch.is_tensor(value) for value in weights.values()):
        raise ValueError(f"{said}: holds something other than weights")
    return weights
