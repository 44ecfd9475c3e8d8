"""`--dry-run`: what a run would be, without reading or writing anything."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from training.config import TrainConfig, to_dict


def describe_run(
    config: Any,
    models: Mapping[str, Callable[[], nn.Module]],
    train: TrainConfig | None = None,
    trained: tuple[str, ...] = (),
    sizes: Mapping[str, object] | None = None,
) -> None:
    """Print the resolved config, every model's parameters, sizes, and the memory of weights and optimiser.

    Args:
        models: name -> a function that builds it; called on the meta device, so no memory is taken.
        trained: the names among `models` that are trained.
        sizes: further lines, such as latent shapes.
    """
    print(json.dumps(to_dict(config), indent=2))
    gigabytes = 0.0
    for name, build in models.items():
        with torch.device("meta"):
            model = build()
        num_parameters = sum(p.numel() for p in model.parameters())
        # Trained: weights, gradients and two AdamW moments in float32, and the averaged copy.
        copies = (4 + bool(train and train.ema_decay)) if name in trained else 1
        gigabytes += num_parameters * 4 * copies / 1e9
        state = "trained" if name in trained else "frozen"
        print(f"{name}: {type(model).__name__}, {num_parameters:,} parameters, {state}")
    for name, value in (sizes or {}).items():
        print(f"{name}: {value}")
    print(f"memory of weights, gradients and optimiser: {gigabytes:.2f} GB, activations come on top")
