"""Films drawn with many seeds from training prompts: for how many prompts does a training film come back?

Beside the draws stand held-out real films, as many together as a prompt has draws: what of them would be
called memorized is the rate of false alarms.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data_module.pairs import PairsFolder, film_paths
from evaluation.inputs.rows import prompts, row_names
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.networks.extractors import open_extractor
from evaluation.privacy.distances import load_standardized
from evaluation.privacy.extraction import (
    CRITERIA,
    Films,
    Search,
    compare_shares,
    judge_group,
    search_films,
    share,
)
from runtime.devices import resolve_device
from runtime.files import write_atomic
from runtime.markdown import markdown_table

TRAIN = "train"
MAX_LISTED = 50
MAX_SHOWN = 20
MAX_P = 0.05  # from which on the verdict is that nothing was found
VERDICTS = {
    True: "Memorized: training films come back more often than real films would be taken for them.",
    False: "Nothing found: training films come back no more often than real films would be taken for them.",
    None: "No verdict: fewer films are held out than a prompt has draws.",
}


def find_memorized(
    real: Path, draws: Path, out: Path, features: str, batch_size: int = 64, device: str = "cpu"
) -> str:
    """Write OUT/memorization.md and .json; returns the Markdown.

    Args:
        real: pairs folder; its train rows are what the generator learned from, all others are held out.
        draws: pairs folder of films drawn from train rows' prompts, several of each.
        features: network whose features are compared beside pixels, as `--features` takes it.

    Raises:
        ValueError: no train rows or no others, no draw of a training prompt, or films that cannot be read.
    """
    folder, made = PairsFolder.open(real), PairsFolder.open(draws)
    train = folder.table["split"] == TRAIN
    if train.all() or not train.any():
        raise ValueError(f"--real {real}: needs rows of split {TRAIN!r} and others, which are held out")
    sides = {
        "training": folder.split(TRAIN),
        "held-out": PairsFolder(real, folder.table[~train].reset_index(drop=True)),
        "drawn": made,
    }
    network = open_extractor(features, resolve_device(device))
    films, kept = {}, {}
    for name, rows in sides.items():
        films[name], kept[name] = _read(rows, network, out / "cache", batch_size, name)
    asked = {name: np.array(prompts(sides[name]))[kept[name]] for name in ("training", "drawn")}
    groups = _group(asked["drawn"], asked["training"])
    if not groups:
        raise ValueError(
            f"--draws {draws}: none of its prompts is a training prompt of {real}; draw them with "
            "sample_pairs.py --split train --num-prompts 32 --num-pairs 512"
        )
    names = {name: np.array(row_names(rows))[kept[name]] for name, rows in sides.items()}
    record = judge(films, groups, names)
    record |= {"real": str(real), "draws": str(draws), "criteria": CRITERIA}
    record["network"] = {"source": network.source, "hash": network.identity}
    text = _render(record)
    write_atomic(out / "memorization.json", json.dumps(record, indent=2) + "\n")
    write_atomic(out / "memorization.md", text)
    return text


def _read(
    folder: PairsFolder, network: FilmClassifier, cache_dir: Path, batch_size: int, name: str
) -> tuple[Films, np.ndarray]:
    """Films that can be read, and their rows."""
    paths = film_paths(folder)
    scores = score_cached(network, paths, cache_dir, batch_size, progress=f"{name} films")
    kept = np.flatnonzero(scores.readable)
    return (load_standardized([paths[row] for row in kept]), scores.features[kept]), kept


def _group(drawn: np.ndarray, training: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """(rows of a training prompt's draws, rows of the training films that have it), by prompt."""
    own: dict[str, list[int]] = {}
    for row, prompt in enumerate(training.tolist()):
        own.setdefault(prompt, []).append(row)
    of_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(drawn.tolist()):
        if prompt and prompt in own:
            of_prompt.setdefault(prompt, []).append(row)
    return [(rows, own[prompt]) for prompt, rows in of_prompt.items()]


def judge(
    films: dict[str, Films], groups: list[tuple[list[int], list[int]]], names: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Shares of prompts, draws and held-out films by each criterion, and the draws that were found.

    Args:
        films: "training", "held-out", "drawn".
        groups: (rows of a prompt's draws, rows of the training films with this prompt).
        names: what each set's films are called.
    """
    drawn, held_out, limit = search_films(films["drawn"], films["held-out"], films["training"])
    size = int(np.median([len(rows) for rows, _ in groups]))
    num_groups = len(names["held-out"]) // size
    pixels = {name: films[name][0] for name in ("drawn", "held-out")}
    found = [judge_group(drawn, pixels["drawn"], rows, own, limit) for rows, own in groups]
    control = [
        judge_group(held_out, pixels["held-out"], range(size * i, size * (i + 1)), (), limit)
        for i in range(num_groups)
    ]
    rows = np.concatenate([rows for rows, _ in groups]).astype(int)
    record: dict[str, Any] = {
        "num_prompts": len(groups),
        "num_draws": len(rows),
        "num_other_draws": len(names["drawn"]) - len(rows),
        "draws_per_prompt": size,
        "num_training": len(names["training"]),
        "num_held_out": len(names["held-out"]),
        "num_held_out_groups": num_groups,
        "figures": {name: _compare(name, found, control) for name in CRITERIA},
        "training_films": share(
            len(set(drawn.nearest[rows][drawn.extracted[rows]].tolist())), len(names["training"])
        ),
    }
    p = record["figures"]["extraction"]["p"]
    record["memorized"] = None if p is None else p < MAX_P
    record["prompts"] = [
        {"training_films": names["training"][own].tolist(), "num_draws": len(rows), **counts}
        for (rows, own), counts in zip(groups, found, strict=True)
    ]
    record["nearest"] = _list_nearest(drawn, rows, groups, names)
    return record


def _compare(name: str, found: list[dict[str, Any]], control: list[dict[str, Any]]) -> dict[str, Any]:
    """A criterion's share of prompts and, for what is told of single films, how many of them; a prompt of its
    own is what held-out films lack."""
    prompts = share(sum(counts[name] > 0 for counts in found), len(found))
    held_out = share(sum(counts[name] > 0 for counts in control), 0 if name == "own" else len(control))
    num_films = None if name == "clique" else sum(counts[name] for counts in found)
    return {
        "prompts": prompts,
        "held_out": held_out,
        "p": compare_shares(prompts, held_out),
        "num_films": num_films,
    }


def _list_nearest(
    drawn: Search, rows: np.ndarray, groups: list[tuple[list[int], list[int]]], names: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """The draws nearest to a training film first."""
    own = {row: films for rows, films in groups for row in rows}
    order = rows[np.argsort(drawn.relative[rows], kind="stable")][:MAX_LISTED]
    return [
        {
            "film": str(names["drawn"][row]),
            "training_film": str(names["training"][drawn.nearest[row]]),
            "own": bool(drawn.nearest[row] in own[row]),
            "relative_distance": float(drawn.relative[row]),
            "extraction": bool(drawn.extracted[row]),
            "copy": bool(drawn.copies[row]),
        }
        for row in order
    ]


def _render(record: dict[str, Any]) -> str:
    rows = [
        [
            name,
            _cell(figure["prompts"]),
            _cell(figure["held_out"]),
            "–" if figure["p"] is None else f"{figure['p']:.2g}",
            "–" if figure["num_films"] is None else f"{figure['num_films']:,} of {record['num_draws']:,}",
        ]
        for name, figure in record["figures"].items()
    ]
    header = ("criterion", "training prompts", "held-out real films instead", "p", "draws")
    meanings = "\n".join(f"- `{name}`: {meaning}." for name, meaning in CRITERIA.items())
    listed = [
        [entry["film"], entry["training_film"], f"{entry['relative_distance']:.3f}", _words(entry)]
        for entry in record["nearest"][:MAX_SHOWN]
        if entry["extraction"] or entry["copy"]
    ]
    shown = ""
    if listed:
        table = markdown_table(("draw", "nearest training film", "relative distance", "is"), listed)
        shown = f"\nThe nearest ones; memorization.json has more:\n\n{table}\n"
    return f"""# Training films that come back

{VERDICTS[record["memorized"]]}

- {record["num_prompts"]} training prompts, {record["draws_per_prompt"]} draws of each
- training films extracted: {_cell(record["training_films"])}
- {record["num_held_out_groups"]} groups of as many held-out real films, {record["num_held_out"]:,} in all

Shares of prompts and of groups with exact 95% intervals (Clopper-Pearson); p: prompts against groups
(Fisher's exact test, one-sided); `extraction` gives the verdict.

{markdown_table(header, rows)}

{meanings}
{shown}"""


def _cell(counted: dict[str, Any]) -> str:
    if counted["share"] is None:
        return "–"
    low, high = counted["interval"]
    return f"{counted['count']} of {counted['num']:,}: {counted['share']:.3f} ({low:.3f} to {high:.3f})"


def _words(entry: dict[str, Any]) -> str:
    kinds = [name for name in ("extraction", "copy") if entry[name]]
    return " and ".join(kinds) + (", of its own prompt" if entry["own"] else "")
