"""timm's networks with weights from a local file: what `timm:NAME:FILE` means to any flag."""

from pathlib import Path
from typing import Any

from runtime.weights import read_weights

PREFIX = "timm:"


def open_timm(source: str, flag: str) -> Any:
    """The frozen network that `timm:NAME:FILE` names, in evaluation mode; nothing is downloaded.

    The file's tensors are matched by name. Where names differ, as in EfficientNet weights that other
    packages carry, they are matched in their order, if every shape and every last part of a name agrees.
    `pretrained_cfg` of the network says its input: size, mean and deviation.

    Raises:
        ValueError: an unknown network, no such file, or weights of another network.
    """
    import timm  # takes seconds

    name, _, file = source.removeprefix(PREFIX).partition(":")
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise ValueError(f"{flag} {source}: no weights file; give {PREFIX}NAME:FILE")
    if not timm.is_model(name):
        raise ValueError(f"{flag} {source}: timm knows no network {name!r}")
    network = timm.create_model(name, pretrained=False)
    wanted, found = network.state_dict(), read_weights(path, f"weights of {name} for {flag}")
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
