"""Early stopping: the best validation so far, its weights, and when to stop; all kept in the checkpoints."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from training.config import TrainConfig

HIGHER_IS_BETTER = ("auroc", "accuracy", "f1", "psnr", "ssim")

Weights = dict[str, torch.Tensor]


def is_better(metric: str, value: float, than: float, min_delta: float = 0.0) -> bool:
    """Whether a value of the metric improves on another by more than `min_delta`."""
    gain = value - than if metric.endswith(HIGHER_IS_BETTER) else than - value
    return gain > min_delta


class EarlyStopping:
    """Keeps the weights of the best validation; stops after `patience` validations without a better one."""

    def __init__(self, config: TrainConfig) -> None:
        self.metric = f"validation_{config.early_stopping}"
        self.patience, self.min_delta = config.patience, config.min_delta
        self.best = float("nan")
        self.best_step = self.last_step = -1
        self.waited = 0
        self.values: dict[str, float] = {}
        self.weights: Weights = {}

    @property
    def should_stop(self) -> bool:
        return self.waited >= self.patience

    def update(self, values: Mapping[str, float], step: int, read_weights: Callable[[], Weights]) -> None:
        """Take a validation in; values without the metric change nothing.

        Raises:
            ValueError: the metric is not finite.
        """
        self.values, self.last_step = dict(values), step
        if self.metric not in values:
            return
        value = values[self.metric]
        if not math.isfinite(value):
            raise ValueError(f"--early-stopping: {self.metric} is {value} at step {step}")
        if not self.weights or is_better(self.metric, value, self.best, self.min_delta):
            self.best, self.best_step, self.waited = value, step, 0
            self.weights = read_weights()
        else:
            self.waited += 1

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_step", "last_step", "waited", "values", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
