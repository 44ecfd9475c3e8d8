#!/usr/bin/env python
"""AUROC and FID over the guidance scale, from results folders of `python -m evaluation images`.

Writes guidance.md and guidance.png into --out; `evaluation.images.guidance` knows curve and scale.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from runtime.cli import run_script
from runtime.files import write_atomic
from runtime.markdown import markdown_table


@dataclass(frozen=True)
class Config:
    results: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `python -m evaluation images` wrote, one for each scale."""
    out: Path
    """Folder for guidance.md and guidance.png."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


def main(argv: Sequence[str] | None = None) -> None:
    config = tyro.cli(Config, args=argv, description=__doc__)
    if config.dry_run:
        print(json.dumps(dataclasses.asdict(config), indent=2, default=str))
        return
    from evaluation.images.guidance import HEADER, make_rows, read_points
    from evaluation.output.plots import plot_guidance
    from runtime.figures import save_figure

    points = read_points(config.results)
    table = markdown_table(HEADER, make_rows(points)) + "\n"
    write_atomic(config.out / "guidance.md", table)
    save_figure(plot_guidance(points), config.out / "guidance.png")
    print(table)


if __name__ == "__main__":
    run_script(main)
