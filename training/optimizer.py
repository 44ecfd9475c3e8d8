"""The optimizers (AdamW, or Muon beside it), groups with settings of their own, and the schedules."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from training.config import TrainConfig


@dataclass(frozen=True)
class ParameterGroup:
    """Settings of the parameters whose names begin with `prefix`."""

    prefix: str
    learning_rate_factor: float = 1.0
    weight_decay: float | None = None  # None: that of TrainConfig
    clipped_separately: bool = False  # an adversary: to its own norm; may rest, that is have no gradients


def make_optimizers(
    model: nn.Module,
    config: TrainConfig,
    groups: Sequence[ParameterGroup] = (),
    half: bool = True,
) -> list[torch.optim.Optimizer]:
    """AdamW over the trainable parameters; with `muon`, Muon over the matrices of repeated blocks.

    Muon (Jordan et al., 2024) orthogonalizes the update of a weight matrix; scaled to the root mean square
    of AdamW's updates (Liu et al., 2025, eq. 4), both take the same learning rate and weight decay. Biases,
    norms and embeddings do not decay.

    Args:
        groups: a parameter belongs to the first whose prefix fits, else it has TrainConfig's settings.
        half: whether Muon orthogonalizes in bfloat16, as published, or in float32.

    Raises:
        ValueError: nothing to train, in all or in a group, or Muon in float16.
    """
    muon = config.optimizer == "muon"
    if muon and config.mixed_precision == "fp16":
        raise ValueError("--optimizer muon: use --mixed-precision bf16; fp16 scales for one optimizer only")
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    hidden = _hidden_matrices(model) if muon else set()
    rest = ParameterGroup("")  # first: its learning rate is the one that is logged
    members = {group: {"matrices": [], "decayed": [], "kept": []} for group in (rest, *groups)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = next((group for group in groups if name.startswith(group.prefix)), rest)
            kind = "kept" if parameter.ndim < 2 or id(parameter) in embeddings else "decayed"
            members[group]["matrices" if id(parameter) in hidden else kind].append(parameter)
    empty = [group.prefix for group, kinds in members.items() if not any(kinds.values())]
    if len(empty) == len(members):
        raise ValueError("the model has no trainable parameter")
    if any(empty):
        raise ValueError(f"the model has no trainable parameter {', '.join(filter(None, empty))}*")

    def settings(kind: str) -> list[dict]:
        return [
            {
                "params": kinds[kind],
                "lr": config.learning_rate * group.learning_rate_factor,
                "weight_decay": config.weight_decay if group.weight_decay is None else group.weight_decay,
            }
            for group, kinds in members.items()
            if kinds[kind]
        ]

    optimizers: list[torch.optim.Optimizer] = []
    if plain := settings("decayed") + [{**entry, "weight_decay": 0.0} for entry in settings("kept")]:
        # One fused pass over the weights took the demo's U-ViT from 9 to 11.6 steps a second on 2 cores.
        optimizers.append(torch.optim.AdamW(plain, lr=config.learning_rate, betas=config.betas, fused=True))
    if matrices := settings("matrices"):
        shared: dict[str, Any] = {"lr": config.learning_rate, "adjust_lr_fn": "match_rms_adamw"}
        from training.muon import StackedMuon  # late: it imports timm, which takes time

        optimizers.append(StackedMuon(matrices, torch.bfloat16 if half else torch.float32, **shared))
    for optimizer in optimizers:
        optimizer.register_load_state_dict_post_hook(_lay_out_states)
    return optimizers


def _lay_out_states(optimizer: torch.optim.Optimizer) -> None:
    """Moments of a checkpoint as their weights lie in memory, which may be channels last.

    A fused step pairs them place by place: with other strides it is refused on a GPU, and on a CPU it moves
    each weight by another one's moments, without a word.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if (
                isinstance(value, torch.Tensor)
                and value.shape == parameter.shape
                and value.stride() != parameter.stride()
            ):
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _hidden_matrices(model: nn.Module) -> set[int]:
    """Ids of the linear layers' weights in repeated blocks: Muon is not for the first and the last layer."""
    counts = Counter(type(module) for module in model.modules())
    blocks = (module for module in model.modules() if counts[type(module)] > 1)
    return {id(m.weight) for block in blocks for m in block.children() if isinstance(m, nn.Linear)}


def split_by_clipping(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[list[nn.Parameter]]:
    """The trainable parameters that are clipped together, then those of each group that is not."""
    separate = [group.prefix for group in groups if group.clipped_separately]
    found: list[list[nn.Parameter]] = [[] for _ in range(len(separate) + 1)]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place = next((place for place, prefix in enumerate(separate, 1) if name.startswith(prefix)), 0)
            found[place].append(parameter)
    return found


def make_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig) -> LambdaLR:
    """Linear warm-up, then cosine to zero or constant; stepped once an optimizer step."""
    from diffusers.optimization import get_scheduler

    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    return get_scheduler(
        name,
        optimizer,
        num_warmup_steps=min(config.warmup_steps, config.num_steps),
        num_training_steps=config.num_steps,
    )
