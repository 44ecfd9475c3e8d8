"""A picture of a pairs folder: films with their prompts and reports beside them."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_module.images import FilmError, read_pixels
from data_module.pairs import PairsFolder
from runtime.files import write_atomic

WIDTH, HEIGHT, MARGIN = 4.7, 1.75, 0.06  # inches of an item, and around its film
NUM_LINES = 12  # of text that fit beside a film


def draw_contact_sheet(pairs: PairsFolder, path: Path, num_rows: int = 6, num_columns: int = 3) -> None:
    """Draw the first films of a folder, each with its prompt (bold) and report, as a PNG."""
    import matplotlib.pyplot as plt  # late: it takes a second, long before there is anything to draw

    plt.switch_backend("Agg")
    shown = min(len(pairs), num_rows * num_columns)
    num_columns = min(num_columns, shown)
    width, height = WIDTH * num_columns, HEIGHT * -(-shown // num_columns)
    figure = plt.figure(figsize=(width, height), dpi=110)
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
        # The report begins where the prompt's lines end.
        for text, lines_above, fontsize, fontweight in (
            (prompt, 0.0, 7.0, "bold"),
            (report, prompt.count("\n") + 1.6 if prompt else 0.0, 6.5, "normal"),
        ):
            x, y = left + side + 2 * MARGIN, top - 0.118 * lines_above
            # A dollar sign in a report is no formula.
            figure.text(
                *(x / width, y / height, text),
                va="top",
                linespacing=1.25,
                parse_math=False,
                fontsize=fontsize,
                fontweight=fontweight,
            )
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_atomic(path, stream.getvalue())
    plt.close(figure)


def draw_edit_sheet(
    edits: Sequence[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str], path: Path, num_rows: int = 16
) -> None:
    """Draw films (S, S) uint8 of the first edits side by side, two edits a line, as a PNG.

    Args:
        edits: what was asked for, and its films in the order of `columns`.
    """
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    shown, width = edits[:num_rows], len(columns)
    lines = -(-len(shown) // 2)
    figure, axes = plt.subplots(
        lines, 2 * width, figsize=(2.6 * width, 1.5 * lines), dpi=110, squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for place, (words, films) in enumerate(shown):
        row = axes[place // 2][width * (place % 2) :][:width]
        for axis, name, film in zip(row, columns, films, strict=True):
            axis.imshow(film, cmap="gray", vmin=0, vmax=255)
            axis.set_title(name, fontsize=6)
        title = f"{textwrap.fill(words, 28, max_lines=2)}\n{columns[0]}"
        row[0].set_title(title, fontsize=6, parse_math=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_atomic(path, stream.getvalue())
    plt.close(figure)
