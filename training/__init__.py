"""One training loop for every model: optimizers, averaged weights, exact resume, early stopping."""

from training.config import TrainConfig, with_epochs
from training.loop import fit
from training.optimizer import ParameterGroup

__all__ = ["ParameterGroup", "TrainConfig", "fit", "with_epochs"]
