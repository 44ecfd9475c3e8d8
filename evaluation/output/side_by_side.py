"""The first films of several systems under each other, column by column for the same prompt."""

import contextlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from data_module.findings import PROMPT_START
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


def plot_side_by_side(folders: Mapping[str, PairsFolder], rows: Sequence[int]) -> Figure:
    """One row of films a system, one column a prompt; a film that cannot be read stays blank."""
    width, height = LABEL + SIDE * len(rows), TITLE + SIDE * len(folders)
    figure = new_figure(width, height)
    axes = figure.subplots(len(folders), len(rows), squeeze=False)
    for line, (name, folder) in enumerate(folders.items()):
        paths = film_paths(folder)
        for column, row in enumerate(rows):
            axis = axes[line, column]
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            with contextlib.suppress(FilmError):  # a damaged film
                if path := paths[row]:
                    axis.imshow(read_pixels(path), cmap="gray", vmin=0, vmax=255)
            if not line:
                sentence = prompts(folder)[row].removeprefix(f"{PROMPT_START} ")
                axis.set_title(textwrap.fill(sentence, 22, max_lines=6), fontsize=6.5)
        axes[line, 0].set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=8)
    return figure
