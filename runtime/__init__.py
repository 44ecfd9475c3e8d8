"""What every script shares: command line and presets, run folders, devices, files. Knows nothing of films."""

from runtime.cli import parse_config, run_script
from runtime.dry_run import describe_run
from runtime.runs import RunFolder, model_source

__all__ = ["RunFolder", "describe_run", "model_source", "parse_config", "run_script"]
