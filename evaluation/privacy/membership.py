"""Membership inference by loss: does a denoiser do better on the films that it was trained on?

The threshold attack (Matsumoto et al., 2023, arXiv 2302.03262; Carlini et al., 2023, arXiv 2301.13188): the
lower a film's denoising loss, the more likely it was in the training set. Losses of each noise level are
divided by their mean over all films, and a film's score is their mean: no level outweighs the others.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data_module.tables import find_column, read_table
from evaluation.statistics.bootstrap import draw_weights, percentile_interval, resample
from evaluation.statistics.weighted_estimators import found_at, separation
from runtime.files import write_atomic
from runtime.markdown import markdown_table

TRAIN, PREFIX, ALL = "train", "loss_", "all levels"
FALSE_ALARMS = 0.01
LEAST = 100  # films that were not trained on, below which 1% of them is none


def score_membership(losses: Path, out: Path, num: int = 2000, seed: int = 0) -> str:
    """Write OUT/membership.md and .json; returns the Markdown.

    Args:
        losses: CSV of file_name, split, perhaps patient_id, and columns loss_...; rows of split train are
            members, all others are not.

    Raises:
        ValueError: columns that are missing, a loss that is no finite number, or one side only.
    """
    members, patients, levels = read_losses(losses)
    if members.all() or not members.any():
        raise ValueError(f"--losses {losses}: needs films of split {TRAIN!r} and of another")
    scores = {name.removeprefix(PREFIX): -values for name, values in levels.items()}
    scaled = [values / max(values.mean(), 1e-12) for values in levels.values()]
    scores = {ALL: -np.mean(scaled, axis=0)} | scores
    estimators = {}
    for name, values in scores.items():
        estimators[name, "auroc"] = separation(members, values)
        if (~members).sum() >= LEAST:
            estimators[name, "found"] = found_at(members, values, FALSE_ALARMS)
    drawn = resample(estimators, draw_weights(patients, members.astype(int), num, seed))
    whole = np.ones((1, len(members)), np.float32)
    figures: dict[str, dict[str, Any]] = {}
    for (name, figure), estimate in estimators.items():
        entry = {"value": float(estimate(whole)[0]), "interval": percentile_interval(drawn[name, figure])}
        figures.setdefault(name, {})[figure] = entry
    interval = figures[ALL]["auroc"]["interval"]
    record = {
        "losses": str(losses),
        "num_members": int(members.sum()),
        "num_others": int((~members).sum()),
        "false_alarms": FALSE_ALARMS,
        "num_bootstrap": num,
        "figures": figures,
        "told_apart": None if interval is None else interval[0] > 0.5,
    }
    text = _render(record)
    write_atomic(out / "membership.json", json.dumps(record, indent=2) + "\n")
    write_atomic(out / "membership.md", text)
    return text


def read_losses(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Members (N,) bool, patients (N,), and columns of losses, (N,) each. ValueError for another table."""
    where = f"--losses {path}"
    table = read_table(path, where)
    name, split, patient = (
        find_column(table, [column], where) for column in ("file_name", "split", "patient_id")
    )
    columns = [column for column in table.columns if column.startswith(PREFIX)]
    if name is None or split is None or not columns or table.empty:
        raise ValueError(f"{where}: needs rows, and the columns file_name, split and {PREFIX}...")
    levels = {}
    for column in columns:
        try:
            levels[column] = table[column].to_numpy(dtype=np.float64)
        except ValueError:
            levels[column] = np.array([np.nan])
        if not np.isfinite(levels[column]).all() or (levels[column] < 0).any():
            raise ValueError(f"{where}: column {column} holds something else than finite losses of 0 or more")
    return (table[split] == TRAIN).to_numpy(), table[patient or name].to_numpy(str), levels


def _render(record: dict[str, Any]) -> str:
    verdicts = {
        True: "Told apart: films that were trained on have lower losses than others.",
        False: "Not told apart: by their losses, films that were trained on are like others.",
        None: "No verdict: there are no resamples.",
    }
    rows = [
        [name, *(_cell(figures.get(figure)) for figure in ("auroc", "found"))]
        for name, figures in record["figures"].items()
    ]
    header = ("loss at", "AUROC", f"members found at {FALSE_ALARMS:.0%} false alarms")
    return f"""# Membership inference

{verdicts[record["told_apart"]]}

{record["num_members"]:,} films that were trained on, {record["num_others"]:,} that were not. 95% intervals by
resampling patients; chance is 0.5, and {FALSE_ALARMS}. Members found are told from {LEAST} other films on.

{markdown_table(header, rows)}

`{ALL}`: mean over levels of the loss divided by its mean over all films. The attack is the loss threshold
(arXiv 2302.03262, 2301.13188); stronger ones, with models trained besides, find more.
"""


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "–"
    low, high = entry["interval"] or (float("nan"), float("nan"))
    return f"{entry['value']:.3f} ({low:.3f} to {high:.3f})"
