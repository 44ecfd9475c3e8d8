"""Runs beside each other: `python -m training folds RUN ... --out FILE`.

Mean and deviation of the validation metrics over the folds of one training, and the best fold's model.
"""

import dataclasses
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from runtime.cli import run_script
from runtime.files import making_folder, read_json, write_atomic
from runtime.markdown import markdown_table
from runtime.runs import RunFolder


@dataclass(frozen=True)
class Folds:
    """Summary of cross-validation: one finished run for each --fold."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders that differ in --fold alone."""
    out: Path
    """Markdown file to write."""
    best: Path | None = None
    """Copy the best fold's run to this folder, for sampling and scoring."""
    overwrite: bool = False
    """Replace another run in --best."""
    metric: str = ""
    """Validation metric that picks the best fold; empty takes that of --early-stopping, else the loss."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


def summarize_folds(folders: Sequence[Path], metric: str = "") -> tuple[str, RunFolder]:
    """A Markdown table of the folds' validation metrics, their mean and deviation, the best fold marked.

    The best fold's run comes with it.

    Each fold stands with the validation whose weights it saved: the best one with early stopping, else the
    last.

    Raises:
        ValueError: a run that is not finished or of no fold, runs of other settings, or an unknown metric.
    """
    from training.early_stopping import is_better  # late: --help need not wait for torch

    runs = [_open(folder) for folder in folders]
    if not runs:
        raise ValueError("name the run folders of the folds")
    _check_folds(runs)
    stopped = runs[0].config["train"].get("early_stopping", "")
    metric = metric or stopped or "loss"
    values = {run.config["folds"]["fold"]: _saved_validation(run, stopped) for run in runs}
    first, *others = values.values()
    names = [name for name in first if name != "step" and all(name in row for row in others)]
    if metric not in names:
        raise ValueError(f"--metric {metric}: the runs have {', '.join(names)}")
    best = min(values)
    for fold in values:
        if is_better(metric, values[fold][metric], values[best][metric]):
            best = fold
    rows = [
        [f"{fold} (best)" if fold == best else fold, row["step"], *(f"{row[n]:.4f}" for n in names)]
        for fold, row in sorted(values.items())
    ]
    cells = []
    for name in names:
        column = [row[name] for row in values.values()]
        spread = statistics.stdev(column) if len(column) > 1 else float("nan")
        cells.append(f"{statistics.mean(column):.4f} ± {spread:.4f}")
    table = markdown_table(("fold", "step", *names), [*rows, ["mean ± deviation", "", *cells]])
    chosen = next(run for run in runs if run.config["folds"]["fold"] == best)
    return f"{table}\n\nBest by {metric}: fold {best}, {chosen.model_dir}\n", chosen


def copy_run(run: RunFolder, target: Path, overwrite: bool) -> None:
    """Copy a finished run; nothing where the copy is there.

    Raises:
        ValueError: the target holds something else.
    """
    if target.exists():
        if not (target / "config.json").is_file():
            raise ValueError(f"--best {target} is there and not a run folder: name another folder")
        there = RunFolder.open(target, run.kind)
        if there.config == run.config:
            return
        if not overwrite:
            raise ValueError(f"--best {target} holds another run: name another folder, or --overwrite")
        shutil.rmtree(target)
    with making_folder(target) as folder:
        shutil.copytree(run.root, folder)


def _open(folder: Path) -> RunFolder:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not a run folder: it has no config.json")
    run = RunFolder.open(folder, read_json(path).get("kind", ""))
    if not run.config.get("folds", {}).get("folds"):
        raise ValueError(f"{folder} was trained without --folds")
    return run


def _check_folds(runs: Sequence[RunFolder]) -> None:
    def others(run: RunFolder) -> Mapping[str, Any]:
        return {**run.config, "out": "", "folds": run.config["folds"]["folds"]}

    for run in runs[1:]:
        changed = [name for name, value in others(run).items() if others(runs[0]).get(name) != value]
        if changed or run.kind != runs[0].kind:
            raise ValueError(f"{run.root} and {runs[0].root} differ in {', '.join(changed) or 'kind'}")
    folds = [run.config["folds"]["fold"] for run in runs]
    if len(set(folds)) < len(folds):
        raise ValueError(f"two runs of one fold: {folds}")
    missing = sorted(set(range(runs[0].config["folds"]["folds"])) - set(folds))
    if missing:
        raise ValueError(f"fold {', '.join(map(str, missing))} is missing")


def _saved_validation(run: RunFolder, stopped: str) -> dict[str, float]:
    """Step and metrics of the validation whose weights the run saved."""
    from training.early_stopping import is_better

    found = []
    for line in run.read_log():
        values = {n.removeprefix("validation_"): v for n, v in line.items() if n.startswith("validation_")}
        if values:
            found.append({"step": line["step"], **values})
    if not found:
        raise ValueError(f"{run.root}: no validation in metrics.jsonl")
    saved = found[-1]
    if stopped:
        min_delta, saved = run.config["train"]["min_delta"], None
        for values in found:
            if stopped in values and (
                saved is None or is_better(stopped, values[stopped], saved[stopped], min_delta)
            ):
                saved = values
    if saved is None:
        raise ValueError(f"{run.root}: no validation of {stopped}, which it was stopped by, in metrics.jsonl")
    return saved


def main(argv: Sequence[str] | None = None) -> None:
    command = tyro.extras.subcommand_cli_from_dict({"folds": Folds}, args=argv, description=__doc__)
    if command.dry_run:
        print(json.dumps(dataclasses.asdict(command), indent=2, default=str))
        return
    text, best = summarize_folds(command.runs, command.metric)
    write_atomic(command.out, text)
    print(text)
    if command.best:
        copy_run(best, command.best, command.overwrite)


if __name__ == "__main__":
    run_script(main)
