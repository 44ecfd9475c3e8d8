#!/usr/bin/env python
"""AUROC and FID over the guidance scale, from folders of results named NAME_SCALE.

Writes guidance.md and guidance.png into --out; each NAME is one curve.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from data_module.files import write_atomic
from training import run_script

# Heading, figure and, beside it, what real films reach.
FIGURES = (("AUROC", "auroc_mean", "auroc_mean_real"), ("FID", "fid", "fid_floor"))


@dataclass(frozen=True)
class Config:
    results: tyro.conf.Positional[tuple[Path, ...]]
    """Folders NAME_SCALE that `python -m evaluation images` wrote."""
    out: Path
    """Folder for guidance.md and guidance.png."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


def read_curves(folders: Sequence[Path]) -> dict[str, dict[float, dict]]:
    """Name -> guidance scale -> the film figures, by rising scale."""
    curves: dict[str, dict[float, dict]] = {}
    for folder in folders:
        name, _, scale = folder.name.rpartition("_")
        path = folder / "results.json"
        if not name or not path.is_file():
            raise ValueError(f"{folder}: not a folder NAME_SCALE of `python -m evaluation images`")
        curves.setdefault(name, {})[float(scale)] = json.loads(path.read_text())["films"]
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def make_table(curves: dict[str, dict[float, dict]]) -> str:
    """The figures as Markdown, a row for each curve and scale."""
    lines = ["| guidance | scale | AUROC | FID |", "|---|---|---|---|"]
    for name, curve in curves.items():
        for scale, films in curve.items():
            cells = " | ".join(f"{films[figure]:.3f}" for _, figure, _ in FIGURES)
            lines.append(f"| {name} | {scale:g} | {cells} |")
    real = next(iter(next(iter(curves.values())).values()))
    lines.append("| real films | | " + " | ".join(f"{real[beside]:.3f}" for *_, beside in FIGURES) + " |")
    return "\n".join(lines) + "\n"


def draw_chart(curves: dict[str, dict[float, dict]], path: Path) -> None:
    """One panel a figure, one line a curve, what real films reach dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chart = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(chart)
    for axes, (title, figure, beside) in zip(chart.subplots(1, len(FIGURES)), FIGURES, strict=True):
        for name, curve in curves.items():
            axes.plot(list(curve), [films[figure] for films in curve.values()], marker="o", label=name)
        real = next(iter(next(iter(curves.values())).values()))[beside]
        axes.axhline(real, color="grey", linestyle="--", label="real films")
        axes.set(title=title, xlabel="guidance scale")
        axes.legend()
    chart.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    config = tyro.cli(Config, args=argv, description=__doc__)
    if config.dry_run:
        print(json.dumps(dataclasses.asdict(config), indent=2, default=str))
        return
    curves = read_curves(config.results)
    table = make_table(curves)
    write_atomic(config.out / "guidance.md", table)
    draw_chart(curves, config.out / "guidance.png")
    print(table)


if __name__ == "__main__":
    run_script(main)
