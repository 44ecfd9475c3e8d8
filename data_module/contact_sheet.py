"""A picture of a pairs folder: films with their prompts and reports beside them."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_module.images import FilmError, read_pixels
from data_module.pairs import PairsFolder

WIDTH, HEIGHT, MARGIN = 4.7, 1.75, 0.06  # inches of an item, and around its film
NUM_LINES = 11  # of text that fit beside a film, under its name
LINE = 0.118  # inches


def draw_contact_sheet(pairs: PairsFolder, path: Path, num_rows: int = 6, num_columns: int = 3) -> None:
    """Draw the first films of a folder, each with its name (gray), prompt (bold) and report, as a PNG."""
    from runtime.figures import new_figure, save_figure  # late: matplotlib takes a second

    shown = min(len(pairs), num_rows * num_columns)
    num_columns = min(num_columns, shown)
    width, height = WIDTH * num_columns, HEIGHT * -(-shown // num_columns)
    figure = new_figure(width, height, dpi=110, layout=None)
    side = HEIGHT - 2 * MARGIN
    for place in range(shown):
        row = pairs.table.iloc[place]
        left = WIDTH * (place % num_columns) + MARGIN
        top = height - HEIGHT * (place // num_columns) - MARGIN
        film = figure.add_axes((left / width, (top - side) / height, side / width, side / height))
        film.axis("off")
        try:
            film.imshow(read_pixels(pairs.root / row["file_name"]), cmap="gray", vmin=0, vmax=255)
        except FilmError:  # the sheet shows what is there
            film.text(0.5, 0.5, "cannot be read", ha="center", fontsize=7)
        prompt = "" if row.isna()["prompt"] else textwrap.fill(row["prompt"], 46, max_lines=5)
        report = textwrap.fill(str(row["report"]), 58, max_lines=NUM_LINES - prompt.count("\n"))
        name = str(row["file_name"])
        name = name if len(name) < 60 else f"...{name[-56:]}"
        lines_above = 0.0
        styles: tuple[tuple[str, dict[str, Any]], ...] = (
            (name, {"fontsize": 5.5, "color": "0.45"}),
            (prompt, {"fontsize": 7.0, "fontweight": "bold"}),
            (report, {"fontsize": 6.5}),
        )
        for text, style in styles:
            x, y = left + side + 2 * MARGIN, top - LINE * lines_above
            figure.text(x / width, y / height, text, va="top", linespacing=1.25, **style)
            lines_above += text.count("\n") + 1.3 if text else 0.0
    save_figure(figure, path)


def draw_edit_sheet(
    edits: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str], path: Path, num_rows: int = 16
) -> None:
    """Draw films (S, S) uint8 of the first edits side by side, two edits a line, as a PNG.

    Args:
        edits: what was asked for, and its films in the order of `columns`.
    """
    from runtime.figures import new_figure, save_figure

    shown, width = edits[:num_rows], len(columns)
    lines = -(-len(shown) // 2)
    figure = new_figure(2.6 * width, 1.5 * lines, dpi=110)
    axes = figure.subplots(lines, 2 * width, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for place, (words, films) in enumerate(shown):
        row = axes[place // 2][width * (place % 2) :][:width]
        for axis, name, film in zip(row, columns, films, strict=True):
            axis.imshow(film, cmap="gray", vmin=0, vmax=255)
            axis.set_title(name, fontsize=6)
        title = f"{textwrap.fill(words, 28, max_lines=2)}\n{columns[0]}"
        row[0].set_title(title, fontsize=6)
    save_figure(figure, path)
