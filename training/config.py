"""The training settings that every script shares."""

import dataclasses
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation of one run. A step is one optimiser step."""

    num_steps: int = 1000
    """Optimiser steps."""
    batch_size: int = 64
    """Items per process and micro-step."""
    gradient_accumulation_steps: int = 1
    """Micro-steps per optimiser step."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: Muon for the matrices of repeated blocks and AdamW for the rest."""
    weight_decay: float = 0.01
    """On weight matrices only; biases, norms and embeddings have none."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's betas."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after warm-up."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    ema_decay: float = 0.0
    """Decay of the averaged weights that validation and the saved model use; 0 keeps none."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "bf16"
    """Autocast precision; auto: bf16 where the device has instructions for it. Weights and optimiser stay
    float32."""
    compile: bool = False
    """Compile the model (torch.compile; on a CPU it needs a C++ compiler): a minute or so at the start, for
    long runs."""
    seed: int = 0
    """Every random draw of step s is a pure function of (seed, s, process)."""
    validate_every: int = 500
    """Steps between validations; 0 validates at the end only."""
    num_validation_batches: int = 8
    """Batches of a validation at most."""
    early_stopping: str = ""
    """Validation metric, such as loss: the weights of its best validation are the ones saved, and training
    stops after --patience validations without a better one. Empty trains to the end. SSIM and PSNR compare
    a drawn film with the paired one: no measure of text-to-image, since many films fit a text."""
    patience: int = 5
    """Validations without a better --early-stopping metric before training stops."""
    min_delta: float = 0.0
    """What counts as better: a gain above this."""
    score_every: int = 0
    """Steps between scores of drawn films, for scripts that draw some (costly); 0 scores at the end only."""
    checkpoint_every: int = 500
    """Steps between checkpoints. A killed run goes on from the last."""
    keep_checkpoints: int = 1
    """Checkpoints kept on disk."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    num_workers: int = 0
    """Loader processes. 0 is right where the data lies in memory or in the latent cache."""
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    """Also log there; metrics.jsonl is always written."""


def with_epochs(train: TrainConfig, num_epochs: float, num_items: int) -> TrainConfig:
    """`train` with as many steps as `num_epochs` passes over `num_items` take; as it is where that is 0."""
    if num_epochs <= 0:
        return train
    from accelerate import PartialState  # late: a command line need not wait for torch

    items_per_step = train.batch_size * train.gradient_accumulation_steps * PartialState().num_processes
    return dataclasses.replace(train, num_steps=max(1, round(num_epochs * num_items / items_per_step)))
