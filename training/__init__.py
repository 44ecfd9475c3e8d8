"""One training loop for every model: presets, run folders, exact resume."""

from training.cli import parse_config, run_script
from training.config import TrainConfig, with_epochs
from training.dry_run import describe_run
from training.loader import make_generator
from training.loop import fit
from training.optimizer import ParameterGroup
from training.runs import RunFolder, model_source

__all__ = [
    "ParameterGroup",
    "RunFolder",
    "TrainConfig",
    "describe_run",
    "fit",
    "make_generator",
    "model_source",
    "parse_config",
    "run_script",
    "with_epochs",
]
