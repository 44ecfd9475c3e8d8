"""All stages of an experiment as one table: what each makes, its steps, memory and time, and what it lacks.

    DRY_RUN=1 bash experiments/cxr_irgen.sh

Reads the lines `LINE script flags` that experiments/stages.bash lists. Each is dry-run in this one process,
so that the libraries are imported once and not for every stage.
"""

import contextlib
import importlib
import io
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.device_speed import DEVICES, TRAINED_SHARE, Device, measure_device
from experiments.where_from import BY_FLAG, ORIGINS, find_origin
from runtime.cli import run_script
from runtime.config import flatten
from runtime.estimates import show_duration

# Flags that name what a stage reads.
INPUTS = ("data", "real", "synthetic", "autoencoder", "clip", "classifier", "vision", "language", "prior")
INPUTS += ("encoder", "init-from", "images", "split-file", "root", "table", "model", "features", "perceptual")
# What stands in the place of a run or a file.
WORDS = {
    "model": ("most-frequent", "most-typical", "retrieval"),
    "features": ("latents", "classifier", "films"),
}
PAPER_ROWS = 80_000  # train rows that epochs are counted in where --data is not there yet: the paper's own


@dataclass
class Told:
    """What is known of an experiment once its stages were looked at."""

    trainings: list[tuple[float, float]] = field(default_factory=list)  # operations and steps of each
    unknown: list[str] = field(default_factory=list)  # stages that train for nobody knows how long
    failed: int = 0
    missing: dict[str, str] = field(default_factory=dict)  # input that no stage makes -> where it comes from


def main() -> None:
    """Print the table; exit code 2 where a stage cannot run."""
    lines = [shlex.split(line)[1:] for line in sys.stdin if line.startswith("LINE ")]
    made: list[str] = []
    told, here = Told(), measure_device()
    for number, arguments in enumerate(lines, start=1):
        name = " ".join(arguments[1:3]) if arguments[0] == "-m" else arguments[0]
        out = read_flag(arguments, "out") or read_flag(arguments, "best")
        config: dict[str, Any] = {}
        try:
            text = run_dry(arguments)
            config, says = read_config(text), describe_stage(text)
            if "train" in config:
                says.append(_tell_time(text, name, here, told))
        except ValueError as error:
            says, told.failed = [f"error: {error}"], told.failed + 1
        missing = list_missing(arguments, made, config)
        known = {_without_flag(value) for value in told.missing}  # --real may be --data
        told.missing |= {value: _origin_of(value) for value in missing if _without_flag(value) not in known}
        made += [out] if out else []
        says += [f"needs {value}" for value in missing]
        print(f"{number:>3}/{len(lines)} {name} -> {out}: {', '.join(says) or 'ready'}", flush=True)
    print(*_summarize(told, here), sep="\n")
    if told.failed:
        raise ValueError(f"{told.failed} of {len(lines)} stages cannot run")


def _tell_time(text: str, name: str, here: Device, told: Told) -> str:
    training = count_training(text)
    if training is None:
        told.unknown.append(name)
        return "time not known before its weights are there"
    told.trainings.append(training)
    return f"{show_duration(here.training_s(*training))} here"


def _summarize(told: Told, here: Device) -> Iterator[str]:
    """Lines on the time of all stages, and on what no stage makes."""
    if told.trainings:
        in_all = {
            name: show_duration(sum(device.training_s(*training) for training in told.trainings))
            for name, device in {"here": here, **DEVICES}.items()
        }
        others = ", ".join(f"{name} {in_all[name]}" for name in DEVICES)
        yield f"\ntraining in all: about {in_all['here']} on this machine when nobody else uses it"
        yield f"on one GPU, at {TRAINED_SHARE:.0%} of its peak (not measured): {others}"
        yield "encoding, sampling and scores come on top; --estimate of a script measures its own steps"
    if told.unknown:
        yield f"not counted: {', '.join(told.unknown)}"
    if told.missing:
        yield "\nnot there, and made by no stage:"
        yield from (f"  {name}{f': {origin}' if origin else ''}" for name, origin in told.missing.items())


def run_dry(arguments: Sequence[str]) -> str:
    """What `script --dry-run` or `-m PACKAGE ... --dry-run` prints.

    Raises:
        ValueError: the stage's own complaint.
    """
    module = f"{arguments[1]}.__main__" if arguments[0] == "-m" else arguments[0].removesuffix(".py")
    flags = list(arguments[2:] if arguments[0] == "-m" else arguments[1:])
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(errors):
        try:
            importlib.import_module(module.replace("/", ".")).main(flags)
        except SystemExit as stop:
            if stop.code:
                raise ValueError(f"{' '.join(errors.getvalue().split())[:300]}") from None
    return output.getvalue()


def read_config(text: str) -> dict[str, Any]:
    """The settings at the head of what a dry run prints; {} where it prints none."""
    end = text.find("\n}\n") + 2
    return json.loads(text[:end]) if end > 1 else {}


def describe_stage(text: str) -> list[str]:
    """Steps, number of items, models and memory, as far as a dry run tells them."""
    config, rest = read_config(text), text[text.find("\n}\n") + 2 :]
    told, train = [], config.get("train")
    if train:
        told.append(_describe_length(config, rest))
    num_pairs = config.get("output", {}).get("num_pairs")
    told += [f"{num_pairs:,} pairs"] if num_pairs else []
    for name, number, state in re.findall(r"^(\w+): \w+, ([\d,]+) parameters, (\w+)", rest, re.MULTILINE):
        count = int(number.replace(",", ""))
        told.append(f"{name} {show_count(count)} {state}")
    memory = re.search(r"^memory of .*?: ([^,]+),", rest, re.MULTILINE)
    empty = memory and memory[1].startswith("0 ")
    return told + ([f"{memory[1]} without activations"] if memory and not empty else [])


def _describe_length(config: Mapping[str, Any], rest: str) -> str:
    """Steps and their items, and what epochs come to where the rows are there to count."""
    train, epochs = config["train"], config.get("num_epochs")
    if not epochs:
        return f"{train['num_steps']:,} steps of {train['batch_size']}"
    counted = re.search(r"^steps: ([\d,]+) of .* epochs of ([\d,]+)$", rest, re.MULTILINE)
    if counted:
        return f"{counted[1]} steps of {train['batch_size']}: {epochs:g} epochs of {counted[2]}"
    steps = f"{_assumed_steps(config):,.0f} steps of {train['batch_size']}"
    return f"{steps}: {epochs:g} epochs if of {PAPER_ROWS:,}"


def _assumed_steps(config: Mapping[str, Any]) -> float:
    """Steps of the epochs where nobody can count the rows."""
    train = config["train"]
    return config["num_epochs"] * PAPER_ROWS / (train["batch_size"] * train["gradient_accumulation_steps"])


def count_training(text: str) -> tuple[float, float] | None:
    """Floating-point operations and steps of a whole training, by its dry run; None before they are known."""
    config = read_config(text)
    work = re.search(r"^work: ([\d,]+) ", text, re.MULTILINE)
    if not work:
        return None
    train = config["train"]
    items_per_step = train["batch_size"] * train["gradient_accumulation_steps"]
    counted = re.search(r"^steps: ([\d,]+) of ", text, re.MULTILINE)
    num_steps = float(counted[1].replace(",", "")) if counted else _assumed_steps(config)
    return num_steps * items_per_step * float(work[1].replace(",", "")), num_steps


def show_count(count: int) -> str:
    """A number of parameters for a person: 812 k, 3.1 M, 1.2 G."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def read_flag(arguments: Sequence[str], name: str) -> str:
    """Value of --name, "" without one."""
    places = [place for place, word in enumerate(arguments) if word == f"--{name}"]
    return arguments[places[-1] + 1] if places else ""


def list_missing(
    arguments: Sequence[str], made: Iterable[str], config: Mapping[str, Any] | None = None
) -> list[str]:
    """Inputs that neither are there nor are made by an earlier stage; hub names are said to be such.

    Args:
        config: the stage's settings, whose preset may name weights that no flag does.
    """
    missing = []
    for name in INPUTS:
        value = read_flag(arguments, name)
        if not value or value in WORDS.get(name, ()) or value in made:
            continue
        if Path(value.rpartition(":")[2]).exists():
            continue
        missing.append(_hub_name(value) if _is_hub(value) else f"--{name} {value}")
    named = (value for value in flatten(config or {}).values() if isinstance(value, str) and value in ORIGINS)
    return list(dict.fromkeys([*missing, *(_hub_name(value) for value in named if _is_hub(value))]))


def _is_hub(value: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", value)) and not value.startswith("runs/")


def _hub_name(value: str) -> str:
    return f"{value} of the Hugging Face hub"


def _without_flag(missing: str) -> str:
    return re.sub(r"^--\S+ ", "", missing)


def _origin_of(missing: str) -> str:
    """Where a name of `list_missing` comes from, "" where that is not known."""
    flag = re.match(r"--([\w-]+) ", missing)
    return find_origin(missing) or (BY_FLAG.get(flag[1], "") if flag else "")


if __name__ == "__main__":
    run_script(main)
