"""Validation: the losses of the objective over held-out batches, always with the same draws."""

from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn

from runtime.generators import make_generator
from runtime.processes import on_main
from training.loader import Batch, BatchSource, to_device, validation_batches

Objective = Callable[[nn.Module, Batch, torch.Generator], dict[str, torch.Tensor]]


@torch.no_grad()
def mean_losses(
    model: nn.Module,
    objective: Objective,
    data: BatchSource,
    batch_size: int,
    max_batches: int,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Mean over the items of the first batches; processes take the batches in turns.

    Args:
        model: bare, as `unwrap_model` gives it: DistributedDataParallel would wait for the others in every
            batch, of which some processes have one less.

    Returns:
        "validation_" and the loss's name -> mean.
    """
    if accelerator.num_processes > 1:
        for buffer in model.buffers():  # batch statistics are each process's own; the main one's are saved
            broadcast(buffer)
    totals: dict[str, torch.Tensor] = {}
    num_items = torch.zeros((), device=accelerator.device)
    model.eval()
    for number, batch in enumerate(validation_batches(data, batch_size, max_batches)):
        if number % accelerator.num_processes != accelerator.process_index:
            continue
        size = len(next(iter(batch.values())))
        generator = make_generator(2, number, device=accelerator.device)
        with accelerator.autocast():
            losses = objective(model, to_device(batch, accelerator.device), generator)
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.float() * size
        num_items += size
    num_items = torch.as_tensor(accelerator.reduce(num_items, "sum"))
    names = on_main(lambda: list(totals))  # a process may have had no batch, and all must reduce alike
    means = {}
    for name in names:
        total = totals.get(name, torch.zeros((), device=accelerator.device))
        means[f"validation_{name}"] = (torch.as_tensor(accelerator.reduce(total, "sum")) / num_items).item()
    return means
