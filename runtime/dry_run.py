"""`--dry-run`: what a run would be, without reading or writing anything."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from runtime.config import to_dict
from runtime.files import show_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn


def describe_run(
    config: "DataclassInstance",
    models: Mapping[str, Callable[[], "nn.Module"]],
    averaged: bool = False,
    trained: tuple[str, ...] = (),
    sizes: Mapping[str, object] | None = None,
) -> None:
    """Print the resolved config, every model's parameters, sizes, and the memory of weights and optimizer.

    Args:
        models: name -> a function that builds it; called on the meta device, so no memory is taken.
        averaged: whether an average of the trained weights is kept too.
        trained: the names among `models` that are trained.
        sizes: further lines, such as latent shapes.
    """
    print(json.dumps(to_dict(config), indent=2))
    import torch  # late: settings are shown at once

    memory = 0.0  # bytes
    for name, build in models.items():
        with torch.device("meta"):
            model = build()
        num_parameters = sum(p.numel() for p in model.parameters())
        # Trained: weights, gradients and two AdamW moments in float32, and the averaged copy.
        copies = (4 + averaged) if name in trained else 1
        memory += num_parameters * 4.0 * copies
        state = "trained" if name in trained else "frozen"
        print(f"{name}: {type(model).__name__}, {num_parameters:,} parameters, {state}")
    for name, value in (sizes or {}).items():
        print(f"{name}: {value}")
    print(f"memory of weights, gradients and optimizer: {show_bytes(memory)}, activations come on top")
