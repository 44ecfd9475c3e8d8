"""One training loop for every model: presets, run folders, exact resume."""

from training.cli import parse_config, run_script
from training.config import TrainConfig
from training.dry_run import describe_run
from training.loop import fit
from training.runs import RunFolder

__all__ = ["RunFolder", "TrainConfig", "describe_run", "fit", "parse_config", "run_script"]
