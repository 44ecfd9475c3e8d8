"""`--dry-run` of a training script: what the run would be, without reading or writing anything large."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runtime.config import to_dict
from runtime.files import show_bytes
from training.config import with_epochs

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn


def describe_run(
    config: "DataclassInstance",
    models: Mapping[str, Callable[[], "nn.Module"]],
    averaged: bool = False,
    trained: tuple[str, ...] = (),
    sizes: Mapping[str, object] | None = None,
    forwards: Mapping[str, Callable[[Any], object]] | None = None,
    count_items: Callable[[], int | None] = lambda: None,
) -> None:
    """Print the resolved config, parameters, sizes, memory, and how much is to be computed.

    Args:
        config: with the settings `train` and, where epochs can be asked for, `num_epochs`.
        models: name -> a function that builds it; called on the meta device, so no memory is taken.
        averaged: whether an average of the trained weights is kept too.
        trained: the names among `models` that are trained.
        sizes: further lines, such as latent shapes.
        forwards: name of a model -> applies it to a single item, made of `torch.zeros`, for the count of its
            operations.
        count_items: called where epochs are asked for: rows that are trained on, None before they are there.
    """
    print(json.dumps(to_dict(config), indent=2))
    import torch  # late: settings are shown at once

    memory, work = 0.0, 0  # bytes; floating-point operations of a training item
    for name, build in models.items():
        with torch.device("meta"):
            model = build()
        num_parameters = sum(p.numel() for p in model.parameters())
        # Trained: weights, gradients and two AdamW moments in float32, and the averaged copy.
        copies = (4 + averaged) if name in trained else 1
        memory += num_parameters * 4.0 * copies
        state = "trained" if name in trained else "frozen"
        print(f"{name}: {type(model).__name__}, {num_parameters:,} parameters, {state}")
        if forwards and name in forwards:
            # Backward takes twice as much as forward; of frozen weights under trained adapters, as much.
            work += count_operations(model, forwards[name]) * (3 if name in trained else 2)
    for name, value in (sizes or {}).items():
        print(f"{name}: {value}")
    num_items = count_items() if getattr(config, "num_epochs", 0.0) > 0 else None
    print(f"steps: {describe_steps(config, num_items)}")
    if work:
        print(f"work: {work:,} operations forward and backward of an item")
    if memory:
        print(f"memory of weights, gradients and optimizer: {show_bytes(memory)}, activations come on top")


def describe_steps(config: Any, num_items: int | None) -> str:
    """ "2,800 of 16 items", and where epochs are asked for, what they come to on these items."""
    train, epochs = config.train, getattr(config, "num_epochs", 0.0)
    each = f"{train.batch_size * train.gradient_accumulation_steps:,} items"
    if epochs <= 0:
        return f"{train.num_steps:,} of {each}"
    if num_items is None:
        return f"{epochs:g} epochs of {each} a step; as many as --data has, which is not there yet"
    return (
        f"{with_epochs(train, epochs, num_items).num_steps:,} of {each}: {epochs:g} epochs of {num_items:,}"
    )


def count_operations(model: "nn.Module", forward: Callable[[Any], object]) -> int:
    """Floating-point operations of one forward call, counted on the meta device: nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        model.set_attn_implementation("eager")  # the others look into their masks, which hold nothing here
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(model.eval())
    return counter.get_total_flops()
