"""A picture of a pairs folder: films with their prompts and reports beside them."""

import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from data_module.images import read_pixels
from data_module.pairs import PairsFolder


def draw_contact_sheet(pairs: PairsFolder, path: Path, num_rows: int = 6, num_columns: int = 3) -> None:
    """Draw the first films of a folder, each with its prompt (bold) and report, as a PNG."""
    shown = min(len(pairs), num_rows * num_columns)
    num_rows = -(-shown // num_columns)
    figure, axes = plt.subplots(
        num_rows,
        2 * num_columns,
        figsize=(5.2 * num_columns, 2.2 * num_rows),
        squeeze=False,
        gridspec_kw={"width_ratios": [1, 1.5] * num_columns},
    )
    for axis in axes.flat:
        axis.axis("off")
    for place in range(shown):
        row = pairs.table.iloc[place]
        film, text = axes[place // num_columns, 2 * (place % num_columns) :][:2]
        film.imshow(read_pixels(pairs.root / row["file_name"]), cmap="gray", vmin=0, vmax=255)
        prompt = "" if row.isna()["prompt"] else textwrap.fill(row["prompt"], 52)
        report = textwrap.fill(str(row["report"]), 62)
        text.text(0, 1, prompt, va="top", fontsize=6.5, fontweight="bold", transform=text.transAxes)
        below = 1 - 0.062 * (prompt.count("\n") + 1.8)
        text.text(0, below, report, va="top", fontsize=5.5, transform=text.transAxes)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)
    plt.close(figure)
