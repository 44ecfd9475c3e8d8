"""All stages of an experiment as one table: what each makes, its steps, its memory, and what it lacks.

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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from runtime.cli import run_script

# Flags that name what a stage reads.
INPUTS = ("data", "real", "synthetic", "autoencoder", "clip", "classifier", "vision", "language", "prior")
INPUTS += ("encoder", "init-from", "images", "split-file", "root", "table", "model")
WORDS = ("most-frequent", "retrieval")  # of --model: no run


def main() -> None:
    """Print the table; exit code 2 where a stage cannot run."""
    lines = [shlex.split(line)[1:] for line in sys.stdin if line.startswith("LINE ")]
    made: list[str] = []
    failed = 0
    for number, arguments in enumerate(lines, start=1):
        try:
            told = describe_stage(run_dry(arguments))
        except ValueError as error:
            told, failed = [f"error: {error}"], failed + 1
        told += [f"needs {name}" for name in list_missing(arguments, made)]
        out = read_flag(arguments, "out") or read_flag(arguments, "best")
        made += [out] if out else []
        name = " ".join(arguments[1:3]) if arguments[0] == "-m" else arguments[0]
        print(f"{number:>3}/{len(lines)} {name} -> {out}: {', '.join(told) or 'ready'}", flush=True)
    if failed:
        raise ValueError(f"{failed} of {len(lines)} stages cannot run")


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


def describe_stage(text: str) -> list[str]:
    """Steps, number of items, models and memory, as far as a dry run tells them."""
    end = text.find("\n}\n") + 2
    config: dict[str, Any] = json.loads(text[:end])
    told, train = [], config.get("train")
    if train:
        epochs = config.get("num_epochs")
        length = f"{epochs:g} epochs" if epochs else f"{train['num_steps']:,} steps"
        told.append(f"{length} of {train['batch_size']}")
    num_pairs = config.get("output", {}).get("num_pairs")
    told += [f"{num_pairs:,} pairs"] if num_pairs else []
    for name, number, state in re.findall(
        r"^(\w+): \w+, ([\d,]+) parameters, (\w+)", text[end:], re.MULTILINE
    ):
        count = int(number.replace(",", ""))
        told.append(f"{name} {show_count(count)} {state}")
    memory = re.search(r"^memory of .*?: ([^,]+),", text[end:], re.MULTILINE)
    return told + ([f"{memory[1]} without activations"] if memory else [])


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


def list_missing(arguments: Sequence[str], made: Iterable[str]) -> list[str]:
    """Inputs that neither are there nor are made by an earlier stage; hub names are said to be such."""
    missing = []
    for name in INPUTS:
        value = read_flag(arguments, name)
        if not value or value in WORDS or value in made or Path(value.rpartition(":")[2]).exists():
            continue
        hub = re.fullmatch(r"[\w.-]+/[\w.-]+", value) and not value.startswith("runs/")
        missing.append(f"{value} of the Hugging Face hub" if hub else f"--{name} {value}")
    return missing


if __name__ == "__main__":
    run_script(main)
