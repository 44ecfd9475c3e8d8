"""The training settings that every script shares."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from runtime.config import setting
from runtime.processes import process_state


@dataclass(frozen=True)
class TrainConfig:
    """Optimization of one run. A step is one optimizer step."""

    num_steps: int = 1000
    """Optimizer steps."""
    batch_size: int = 64
    """Items per process and micro-step."""
    gradient_accumulation_steps: int = 1
    """Micro-steps per optimizer step."""
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
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Autocast precision; auto: bf16 where the device has instructions for it, else none; a run goes on in
    what it began in. Weights and optimizer stay float32."""
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
    checkpoint_every: int = setting(500, identity=False)
    """Steps between checkpoints. A killed run goes on from the last."""
    keep_checkpoints: int = setting(1, identity=False)
    """Checkpoints kept on disk."""
    log_every: int = setting(20, identity=False)
    """Steps between lines of metrics.jsonl."""
    num_workers: int = setting(0, identity=False)
    """Loader processes. 0 is right where the data lies in memory or in the latent cache."""
    tracker: Literal["none", "tensorboard", "wandb"] = setting("none", identity=False)
    """Also log there; metrics.jsonl is always written."""
    estimate: bool = setting(False, identity=False)
    """Measure some steps on the real data, say how long the run will take from here, and stop. Nothing is
    written but caches of what frozen models make of the data. With --dry-run it shows the settings too."""

    def __post_init__(self) -> None:
        least = {"warmup_steps": 0, "validate_every": 0, "score_every": 0, "num_workers": 0}
        counts = ("num_steps", "batch_size", "gradient_accumulation_steps", "num_validation_batches")
        least |= dict.fromkeys((*counts, "patience", "checkpoint_every", "keep_checkpoints", "log_every"), 1)
        least |= dict.fromkeys(("learning_rate", "weight_decay", "min_delta", "seed"), 0)
        for name, bound in least.items():
            if not bound <= getattr(self, name) < math.inf:
                raise ValueError(f"{_flag(name)} must be at least {bound}, not {getattr(self, name)}")
        if not self.max_grad_norm > 0:
            raise ValueError(f"--max-grad-norm must be above 0, not {self.max_grad_norm}")
        for name, value in (("ema_decay", self.ema_decay), *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"{_flag(name)} must be below 1, and 0 or more, not {value}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def with_epochs(train: TrainConfig, num_epochs: float, num_items: int) -> TrainConfig:
    """`train` with as many steps as `num_epochs` passes over `num_items` take; as it is where that is 0."""
    if num_epochs <= 0:
        return train
    items_per_step = train.batch_size * train.gradient_accumulation_steps * process_state().num_processes
    return dataclasses.replace(train, num_steps=max(1, round(num_epochs * num_items / items_per_step)))
