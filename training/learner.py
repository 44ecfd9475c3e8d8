"""A model with all that trains it: optimizers, schedules, averaged weights; and one optimizer step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from runtime.devices import suit_gpu
from runtime.generators import make_generator
from training.accelerator import attention_kernel
from training.config import TrainConfig
from training.loader import Batch, to_device
from training.optimizer import ParameterGroup, make_optimizers, make_schedule, split_by_clipping
from training.validation import Objective


class Learner:
    """A model prepared for this process, and how it learns.

    Args:
        objective: (model, batch, generator) -> losses with the key "loss".
        groups: parameters with a learning rate, a decay or a clipping of their own.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        config: TrainConfig,
        accelerator: Accelerator,
        groups: Sequence[ParameterGroup],
    ) -> None:
        self.objective, self.config, self.accelerator = objective, config, accelerator
        if accelerator.device.type == "cuda":
            suit_gpu(model)
        optimizers = make_optimizers(model, config, groups, half=accelerator.mixed_precision == "bf16")
        if config.compile:
            model.compile()  # in place: names of weights, and so checkpoints, stay
        self.prepared, *self.optimizers = accelerator.prepare(model, *optimizers)
        self.schedules = [make_schedule(optimizer, config) for optimizer in optimizers]
        self.parameters = [p for p in self.prepared.parameters() if p.requires_grad]
        self.clipped = split_by_clipping(self.model, groups)
        self.ema = None
        if config.ema_decay:
            # Imported late: it takes seconds, which --help and --dry-run need not pay.
            from diffusers.training_utils import EMAModel

            self.ema = EMAModel(self.parameters, decay=config.ema_decay, foreach=True)

    @property
    def model(self) -> Any:
        """The model itself, without what several processes wrap around it."""
        return self.accelerator.unwrap_model(self.prepared)

    @property
    def learning_rate(self) -> float:
        """Of the first optimizer's first group, at the next step."""
        return float(self.schedules[0].get_last_lr()[0])

    def parts(self) -> dict[str, Any]:
        """All that the next step depends on: name -> what has a state. The draws depend on nothing."""
        parts = {"model": self.model}
        parts |= {f"optimizer {number}": optimizer for number, optimizer in enumerate(self.optimizers)}
        parts |= {f"schedule {number}": schedule for number, schedule in enumerate(self.schedules)}
        further = {"scaler": self.accelerator.scaler, "average": self.ema}
        return parts | {name: part for name, part in further.items() if part is not None}

    def optimize(self, batches: Iterator[Batch], step: int) -> dict[str, torch.Tensor]:
        """Optimizer step number `step`; the losses are those of its last micro-step."""
        losses: dict[str, torch.Tensor] = {}
        num_micro = self.config.gradient_accumulation_steps
        for number in range(num_micro):
            losses = self._backward(next(batches), step * num_micro + number)
        return {name: value.detach() for name, value in losses.items()}

    def _backward(self, batch: Batch, key: int) -> dict[str, torch.Tensor]:
        accelerator, config = self.accelerator, self.config
        self.prepared.train()
        draws = (config.seed, 1, key, accelerator.process_index)
        # Dropout inside library models only knows torch's global stream; the objective has its own.
        torch.manual_seed(make_generator(*draws).initial_seed())
        generator = make_generator(*draws, device=accelerator.device)
        with accelerator.accumulate(self.prepared):
            # Backward too: with gradient checkpointing the forward pass runs again in it.
            with attention_kernel(accelerator.device):
                with accelerator.autocast():
                    losses = self.objective(self.prepared, to_device(batch, accelerator.device), generator)
                accelerator.backward(losses["loss"])
            if accelerator.sync_gradients:
                together, *separate = self.clipped
                accelerator.clip_grad_norm_(together, config.max_grad_norm)
                for parameters in separate:  # the call above took float16's scale off all gradients
                    nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
        if accelerator.sync_gradients:
            for schedule in self.schedules:
                schedule.step()
            if self.ema:
                self.ema.step(self.parameters)
        return losses

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model holds the averaged weights."""
        if not self.ema:
            yield
            return
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def read_weights(self) -> dict[str, torch.Tensor]:
        """A copy of the averaged weights and the buffers, without what is frozen."""
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        with self.averaged():
            weights = self.model.state_dict()
            return {name: weights[name].cpu().clone() for name in weights if name not in frozen}
