"""The first films of several systems above real ones, column by column for the same prompt."""

import contextlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from data_module.findings import POSITIVE, PROMPT_START
from data_module.images import FilmError, read_pixels
from data_module.pairs import PairsFolder, film_paths
from evaluation.inputs.rows import prompts
from runtime.figures import new_figure

NUM_PROMPTS = 8
SIDE, LABEL, TITLE = 1.25, 1.35, 1.0  # inches: of a film, beside the rows, above the columns


def open_systems(results: Mapping[str, Mapping]) -> dict[str, PairsFolder]:
    """Name -> the films that its results.json was made of; a folder that is gone is left out."""
    folders = {}
    for name, result in results.items():
        entry = result.get("inputs", {}).get("films") or {}
        try:
            folders[name] = PairsFolder.open(Path(entry.get("synthetic", "")))
        except ValueError:
            continue
    return folders


def shared_prompts(folders: Sequence[PairsFolder]) -> list[int]:
    """The first rows in which all folders were asked for the same."""
    asked = [prompts(folder) for folder in folders]
    same = (row for row, sentences in enumerate(zip(*asked, strict=False)) if len(set(sentences)) == 1)
    return [row for _, row in zip(range(NUM_PROMPTS), same, strict=False)]


def open_real(results: Mapping[str, Mapping]) -> PairsFolder | None:
    """The real films that all systems were scored against; None where they differ or are gone."""
    used = [result.get("inputs", {}).get("films") or {} for result in results.values()]
    places = {(entry.get("real", ""), entry.get("split", "")) for entry in used}
    if len(places) != 1:
        return None
    root, split = places.pop()
    try:
        return PairsFolder.open(Path(root)).split(split)
    except ValueError:
        return None


def short_prompts(folder: PairsFolder, count: int = 6) -> list[int]:
    """Rows of the shortest prompts, one for each set of findings that is asked for."""
    texts, asked, chosen = prompts(folder), folder.labels == POSITIVE, dict[tuple[bool, ...], int]()
    for row in sorted(range(len(folder)), key=lambda row: len(texts[row])):
        chosen.setdefault(tuple(asked[row]), row)
    return list(chosen.values())[:count]


def match_real(asked: np.ndarray, real: PairsFolder) -> list[int]:
    """For each row of findings (N, 14) that was asked for the real film whose findings are most alike.

    A film is taken twice only where no other is as near.
    """
    shown, used, matches = real.labels == POSITIVE, np.zeros(len(real)), []
    for findings in asked == POSITIVE:
        unlike = (findings != shown).sum(axis=1) + 0.1 * used
        matches.append(int(unlike.argmin()))
        used[matches[-1]] += 1
    return matches


def plot_side_by_side(
    folders: Mapping[str, PairsFolder],
    rows: Sequence[int],
    real: PairsFolder | None = None,
    with_reports: bool = False,
) -> Figure:
    """One row of films a system, one column a prompt; a film that cannot be read stays blank.

    Args:
        real: one more row below, of real films with the findings that were asked for.
        with_reports: each film's impression stands below it.
    """
    lines = {name: (folder, rows) for name, folder in folders.items()}
    first = next(iter(folders.values()))
    if real is not None and real.has_films:
        lines["real, of like findings"] = (real, match_real(first.labels[list(rows)], real))
    side = SIDE + 0.45 * with_reports
    figure = new_figure(LABEL + side * len(rows), TITLE + (side + 0.3 * with_reports) * len(lines))
    axes = figure.subplots(len(lines), len(rows), squeeze=False)
    for line, (name, (folder, chosen)) in enumerate(lines.items()):
        paths, impressions = film_paths(folder), folder.table["impression_section"].fillna("")
        for axis, row in zip(axes[line], chosen, strict=True):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            with contextlib.suppress(FilmError):  # a damaged film
                if path := paths[row]:
                    axis.imshow(read_pixels(path), cmap="gray", vmin=0, vmax=255)
            if with_reports:
                axis.set_xlabel(textwrap.fill(impressions.iloc[row], 32, max_lines=3), fontsize=6)
        axes[line, 0].set_ylabel(
            textwrap.fill(name.replace("_", " "), 14), rotation=0, ha="right", va="center", fontsize=8
        )
    for axis, row in zip(axes[0], rows, strict=True):
        sentence = prompts(first)[row].removeprefix(f"{PROMPT_START} ")
        axis.set_title(textwrap.fill(sentence, 22, max_lines=6), fontsize=6.5)
    return figure
