"""Command lines: presets, replayed configs, and errors without a traceback."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import tyro

from runtime.config import from_dict, to_dict
from runtime.files import read_json
from runtime.huge_pages import restart_with_huge_pages
from runtime.processes import is_main
from runtime.runs import estimates, is_finished
from runtime.threads import settle_threads

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def parse_config(
    presets: Mapping[str, Config], argv: Sequence[str] | None, description: str | None
) -> Config:
    """Flags over a preset (`--preset`, the first by default) or over a saved run's config (`--config FILE`).

    Args:
        presets: name -> frozen dataclass instance; all of one class.
        argv: None takes the command line.

    Raises:
        ValueError: an unknown preset, or a config file that does not fit.
        SystemExit: the run of these settings is finished; nothing need be opened to say so.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    preset = _take(arguments, "--preset") or next(iter(presets))
    if preset not in presets:
        raise ValueError(f"--preset {preset!r}: choose one of {', '.join(presets)}")
    default = presets[preset]
    replayed = _take(arguments, "--config")
    if replayed:
        default = _replay(default, Path(replayed))
    names = ", ".join(f"{name} (default)" if name == next(iter(presets)) else name for name in presets)
    head = f"{(description or '').strip()}\n\n--preset NAME starts from: {names}."
    head += "\n--config FILE starts from a run folder's config.json. Defaults below are those of the start."

    config = tyro.cli(
        type(default),
        default=default,
        args=arguments,
        description=head,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    config = _settle_length(config, arguments)
    if is_finished(config):
        if is_main():
            print(f"{to_dict(config)['out']} is finished; --overwrite trains it anew")
        raise SystemExit
    if estimates(config) and getattr(config, "dry_run", False):
        print(json.dumps(to_dict(config), indent=2))
        return dataclasses.replace(config, dry_run=False)  # goes on to measure
    return config


def _settle_length(config: Config, arguments: Sequence[str]) -> Config:
    """--num-steps on the command line counts, and not the epochs of a preset.

    Raises:
        ValueError: both were given.
    """
    given = {argument.partition("=")[0].replace("_", "-") for argument in arguments}
    if "--num-steps" not in given or not getattr(config, "num_epochs", 0.0):
        return config
    if "--num-epochs" in given:
        raise ValueError("--num-steps and --num-epochs both say how long to train: give one")
    return dataclasses.replace(config, **{"num_epochs": 0.0})


def _take(arguments: list[str], flag: str) -> str | None:
    """Remove `flag VALUE` or `flag=VALUE` from the arguments and return the value."""
    for place, argument in enumerate(arguments):
        if argument == flag:
            if place + 1 == len(arguments):
                raise ValueError(f"{flag} needs a value")
            del arguments[place]
            return arguments.pop(place)
        if argument.startswith(f"{flag}="):
            return arguments.pop(place).split("=", 1)[1]
    return None


def _replay(default: Config, path: Path) -> Config:
    try:
        saved = read_json(path)
    except ValueError as error:
        raise ValueError(f"--config {error}") from None
    return from_dict(default, saved.get("config", saved), f"--config {path}")


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main: bad input ends with one line and exit code 2, Ctrl-C with 130."""
    restart_with_huge_pages(main)
    settle_threads()
    try:
        main()
    except (ValueError, OSError) as error:
        if os.environ.get("PAIRCXR_TRACEBACK"):
            raise
        text = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            text = f"{error.filename}: {error.strerror}"
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        sys.exit(130)
