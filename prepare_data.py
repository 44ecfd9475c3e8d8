"""Any source of chest films and reports -> a pairs folder, which everything else reads.

    python prepare_data.py demo   --out runs/demo/data
    python prepare_data.py csv    --table films.csv --images FOLDER --out FOLDER
    python prepare_data.py open-i --out FOLDER [--images FOLDER]

The same command again goes on where a killed one stopped, and does nothing once the folder is finished.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from data_module.demo import write_demo
from data_module.pairs import PairsFolder
from data_module.sources.films import FilmFormat, default_num_workers, estimate_bytes
from data_module.sources.open_i import OpenIConfig, prepare_open_i
from data_module.sources.output import begin_folder, plain_config
from data_module.sources.table import TableConfig, prepare_table
from evaluation.labeler import label_reports


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Rendered phantom films with exactly known findings, and reports that fit them."""

    out: Path
    """Pairs folder to write."""
    num_studies: int = 4000
    """Studies to render, one film each; some patients have several."""
    size: int = 64
    """Pixels a side: 64, 128 or 256."""
    seed: int = 0
    """Another seed gives other patients."""
    overwrite: bool = False
    """Replace an --out that was made with other settings."""
    dry_run: bool = False
    """Say what would be made, and stop."""
    num_workers: int = field(default_factory=default_num_workers)
    """Processes that render; changes nothing in the result."""


Config = (
    Annotated[DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[TableConfig, tyro.conf.subcommand("csv")]
    | Annotated[OpenIConfig, tyro.conf.subcommand("open-i")]
)


def main(argv: Sequence[str] | None = None) -> None:
    config = tyro.cli(Config, args=argv, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
    if config.num_workers < 1:
        raise ValueError(f"--num-workers {config.num_workers}: give at least 1")
    if config.dry_run:
        describe(config)
        return
    pairs = prepare(config)
    skipped = json.loads((config.out / "provenance.json").read_text()).get("num_skipped", 0)
    splits = pairs.table["split"].value_counts().to_dict()
    print(f"{config.out}: {len(pairs)} rows {splits}, {skipped} skipped (skipped.csv)")


def prepare(config: DemoConfig | TableConfig | OpenIConfig) -> PairsFolder:
    """Make the pairs folder that a source's config describes."""
    match config:
        case DemoConfig():
            return prepare_demo(config)
        case TableConfig():
            return prepare_table(config, label_reports)
        case OpenIConfig():
            return prepare_open_i(config, label_reports)


def prepare_demo(config: DemoConfig) -> PairsFolder:
    """Render the demo, unless it is there."""
    if config.num_studies < 1 or config.seed < 0:
        raise ValueError(f"--num-studies {config.num_studies} --seed {config.seed}: give at least 1 and 0")
    if config.size < 32:
        raise ValueError(f"--size {config.size}: give 32 or more, 64, 128 or 256 at best")
    settings = {"kind": "demo", "num_studies": config.num_studies, "size": config.size, "seed": config.seed}
    finished = begin_folder(config.out, settings, config.overwrite)
    if finished is not None:
        print(f"{config.out}: already done, {len(finished)} rows")
        return finished
    record = plain_config(config)
    return write_demo(
        config.out, config.num_studies, config.size, config.seed, config.num_workers, config=record
    )


def describe(config: DemoConfig | TableConfig | OpenIConfig) -> None:
    """Print the resolved config and sizes. Files that are absent are said to be, and nothing is written."""
    print(json.dumps(plain_config(config), indent=2))
    film = FilmFormat(
        config.size, getattr(config, "resize", "fit-crop"), getattr(config, "image_format", "png")
    )
    match config:
        case DemoConfig():
            num_films, what = config.num_studies, "phantom films with reports"
        case TableConfig():
            there = config.table.is_file()
            num_films = sum(1 for _ in config.table.open("rb")) - 1 if there else 0
            what = "films, at most" if there else f"films: {config.table} is absent, so they are not counted"
        case OpenIConfig():
            num_films = 3955 if config.images else 0
            what = "films, about, with reports" if config.images else "films: about 3,900 reports, text only"
    print(f"would write {num_films:,} {what}, {film.size} x {film.size}, to {config.out}")
    print(f"disk: about {estimate_bytes(num_films, film) / 1e6:,.1f} MB of films")


if __name__ == "__main__":
    # Here, since the processes that render the demo import this file too, and need no training engine.
    from training import run_script

    run_script(main)
