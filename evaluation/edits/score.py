"""Edited films against exact counterfactuals: error within and outside the region, findings, identity.

A film counts as flipped where the classifier decides on the finding that was added or removed as it does of
the counterfactual; asked are the edits that it sees at all, whose original and counterfactual it decides
differently. So the counterfactual itself scores 1, the film left as it was 0, whatever the classifier.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_module.contact_sheet import draw_edit_sheet
from data_module.findings import FINDINGS
from data_module.images import load_pixels, read_pixels
from data_module.pairs import PairsFolder
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.statistics.bootstrap import Estimator, draw_weights, percentile_interval, resample
from runtime.devices import resolve_device
from runtime.files import write_atomic
from runtime.markdown import markdown_table

FIGURES = {
    "flipped": "share of added and removed findings that the classifier sees changed as in the truth",
    "kept": "share of the other findings that it decides as of the counterfactual",
    "kept_by_autoencoder": "the same of the originals that the autoencoder alone gives back",
    "identity": "share of films that are nearest to their own original outside the region",
    "outside": "gray levels (of 255) of error outside the region, L1",
    "outside_ratio": "that error in units of the autoencoder's own there",
    "inside": "gray levels of error within the region",
    "inside_unedited": "the same of the film left as it was",
}
Figures = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (N,) numerators and denominators, a film each


@dataclass(frozen=True)
class ScoredEdits:
    """Films of N edits, (N, S, S) uint8 each, and the regions (N, S, S) bool, in the order of `table`."""

    table: pd.DataFrame
    after: np.ndarray
    truth: np.ndarray
    original: np.ndarray
    reconstruction: np.ndarray | None
    region: np.ndarray
    paths: dict[str, list[Path]]


def score_edits(
    edited: Path,
    truth: Path,
    classifier: Path,
    out: Path,
    batch_size: int = 64,
    num: int = 2000,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """Write OUT/edits.md, .json and .png (before, after, truth, error); returns the Markdown.

    Raises:
        ValueError: folders that do not belong to each other, or lack a column; no classifier.
    """
    films = open_films(edited, truth)
    network = FilmClassifier.open(classifier, resolve_device(device))
    decisions = {
        name: network.decide(score_cached(network, paths, out / "cache", batch_size, name).probabilities)
        for name, paths in films.paths.items()
    }
    figures = measure(films, decisions)
    kinds = films.table["edit"].str.split().str[0].to_numpy(str)
    groups = {"all": np.ones(len(kinds), bool), **{kind: kinds == kind for kind in sorted(set(kinds))}}
    estimators = {
        (group, name): _ratio(top * rows, bottom * rows)
        for group, rows in groups.items()
        for name, (top, bottom) in figures.items()
    }
    patients = films.table["patient_id"].to_numpy(str)
    drawn = resample(estimators, draw_weights(patients, np.zeros(len(patients), int), num, seed))
    whole = np.ones((1, len(patients)), np.float32)
    record: dict[str, Any] = {
        "edited": str(edited),
        "truth": str(truth),
        "classifier": network.identity,
        "num_films": len(patients),
        "num_left_out": len(PairsFolder.open(truth)) - len(patients),
        "groups": {group: {"num_films": int(rows.sum())} for group, rows in groups.items()},
    }
    for (group, name), estimate in estimators.items():
        value = float(estimate(whole)[0])
        record["groups"][group][name] = {
            "value": None if np.isnan(value) else value,
            "interval": percentile_interval(drawn[group, name]),
            "num": int((figures[name][1] * groups[group] > 0).sum()),
        }
    text = _render(record)
    write_atomic(out / "edits.json", json.dumps(record, indent=2) + "\n")
    write_atomic(out / "edits.md", text)
    _draw(films, out / "edits.png")
    return text


def open_films(edited: Path, truth: Path) -> ScoredEdits:
    """The films of both folders, row by row of the edited one; rows belong together by `study_id`."""
    made, exact = PairsFolder.open(edited), PairsFolder.open(truth)
    needed = {
        "--edited": (made, ("study_id", "edited_from")),
        "--truth": (exact, ("study_id", "edited_from", "mask", "edit", "edited_finding")),
    }
    for flag, (pairs, columns) in needed.items():
        missing = [name for name in columns if name not in pairs.table or pairs.table[name].isna().any()]
        if missing:
            raise ValueError(f"{flag} {pairs.root}: column {missing[0]} is missing or has empty cells")
        if pairs.table["study_id"].duplicated().any():
            raise ValueError(f"{flag} {pairs.root}: a study_id stands in more than one row")
    places = exact.table.reset_index().set_index("study_id")["index"].reindex(made.table["study_id"])
    if places.isna().any():
        raise ValueError(
            f"--edited {edited}: {int(places.isna().sum())} of {len(made)} films have a study_id that "
            f"--truth {truth} lacks: edit that folder's films (edit_films.py --pairs)"
        )
    table = exact.table.iloc[places.astype(int)].reset_index(drop=True)
    size = len(read_pixels(_file(exact, table["file_name"][0], "--truth")))
    files = {
        "after": [_file(made, name, "--edited") for name in made.table["file_name"]],
        "truth": [_file(exact, name, "--truth") for name in table["file_name"]],
        "original": [_file(exact, name, "--truth") for name in table["edited_from"]],
    }
    if "reconstruction" in made.table and made.table["reconstruction"].notna().all():
        files["reconstruction"] = [_file(made, name, "--edited") for name in made.table["reconstruction"]]
    films = {name: load_pixels(paths, size) for name, paths in files.items()}
    masks = load_pixels([_file(exact, name, "--truth") for name in table["mask"]], size)
    return ScoredEdits(
        table,
        films["after"],
        films["truth"],
        films["original"],
        films.get("reconstruction"),
        masks > 127,
        files,
    )


def _file(pairs: PairsFolder, name: object, flag: str) -> Path:
    """The file that a cell names, within the folder."""
    if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{flag} {pairs.root}: a row names a film outside the folder")
    return pairs.root / name


def measure(films: ScoredEdits, decisions: dict[str, np.ndarray]) -> Figures:
    """The figures of FIGURES, film by film.

    Args:
        decisions: "after", "truth", "original" and perhaps "reconstruction" -> (N, 14), 1, 0 or NaN.
    """
    inside, outside = films.region.sum(axis=(1, 2)), (~films.region).sum(axis=(1, 2))
    targets = np.array([FINDINGS.index(name) for name in films.table["edited_finding"]])
    rows, others = np.arange(len(targets)), np.ones((len(targets), len(FINDINGS)), bool)
    others[rows, targets], others[:, FINDINGS.index("No Finding")] = False, False
    others &= ~np.isnan(decisions["truth"])
    turned = films.table["edit"].str.split().str[0].isin(("add", "remove")).to_numpy()
    at = {name: codes[rows, targets] for name, codes in decisions.items()}
    seen = turned & (at["truth"] != at["original"]) & ~np.isnan(at["truth"])
    figures: Figures = {
        "flipped": ((seen & (at["after"] == at["truth"])).astype(float), seen.astype(float)),
        "kept": _agreement(decisions["after"], decisions["truth"], others),
        "identity": (_own_is_nearest(films).astype(float), np.ones(len(rows))),
        "outside": (_error(films.after, films.truth, ~films.region), outside.astype(float)),
        "inside": (_error(films.after, films.truth, films.region), inside.astype(float)),
        "inside_unedited": (_error(films.original, films.truth, films.region), inside.astype(float)),
    }
    if films.reconstruction is not None:
        own = _error(films.reconstruction, films.original, ~films.region)
        figures["outside_ratio"] = figures["outside"][0], own
        figures["kept_by_autoencoder"] = _agreement(
            decisions["reconstruction"], decisions["original"], others
        )
    return {name: figures[name] for name in FIGURES if name in figures}


def _error(films: np.ndarray, others: np.ndarray, region: np.ndarray) -> np.ndarray:
    """(N,) sums of absolute differences in gray levels within the regions."""
    return (np.abs(films.astype(np.int16) - others) * region).sum(axis=(1, 2)).astype(float)


def _agreement(codes: np.ndarray, truth: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ((codes == truth) & asked).sum(axis=1).astype(float), asked.sum(axis=1).astype(float)


def _own_is_nearest(films: ScoredEdits) -> np.ndarray:
    """(N,) bool: outside its region, no original of another row is as near to an edited film as its own."""
    nearest = np.ones(len(films.after), bool)
    for row, (film, region) in enumerate(zip(films.after, films.region, strict=True)):
        distances = (np.abs(films.original.astype(np.int16) - film) * ~region).sum(axis=(1, 2))
        nearest[row] = (np.delete(distances, row) > distances[row]).all()
    return nearest


def _ratio(top: np.ndarray, bottom: np.ndarray) -> Estimator:
    """Weights (R, N) -> (R,): the ratio of the sums, NaN where nothing is asked."""

    def estimate(weights: np.ndarray) -> np.ndarray:
        sums = weights @ bottom
        return np.divide(weights @ top, sums, out=np.full(len(weights), np.nan), where=sums > 0)

    return estimate


def _render(record: dict[str, Any]) -> str:
    groups = record["groups"]
    header = ["figure", *(f"{name} ({group['num_films']})" for name, group in groups.items())]
    rows = [
        [name, *(_cell(group[name]) for group in groups.values())]
        for name in FIGURES
        if name in groups["all"]
    ]
    meanings = "\n".join(f"- `{name}`: {meaning}" for name, meaning in FIGURES.items())
    return f"# Edits against exact counterfactuals\n\n{markdown_table(header, rows)}\n\n{meanings}\n"


def _cell(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "-"
    low, high = entry["interval"] or (float("nan"), float("nan"))
    return f"{entry['value']:.3f} ({low:.3f} to {high:.3f})"


def _draw(films: ScoredEdits, path: Path) -> None:
    shown: list[tuple[str, Sequence[np.ndarray]]] = []
    for row, words in enumerate(films.table["edit"][:16]):
        error = np.abs(films.after[row].astype(int) - films.truth[row]).astype(np.uint8)
        shown.append((words, [films.original[row], films.after[row], films.truth[row], error]))
    draw_edit_sheet(shown, ("before", "after", "truth", "error"), path)
