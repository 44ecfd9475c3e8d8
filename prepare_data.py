"""Any source of chest films and reports -> a pairs folder, which everything else reads.

    python prepare_data.py demo      --out runs/demo/data
    python prepare_data.py mimic-cxr --root FOLDER --reports mimic-cxr-reports.zip --out FOLDER
    python prepare_data.py open-i    --out FOLDER [--images FOLDER | --download FOLDER]
    python prepare_data.py csv       --table films.csv --images FOLDER --out FOLDER
    python prepare_data.py csv       --layout nih --table FOLDER --out FOLDER
    python prepare_data.py merge     --parts FOLDER FOLDER --out FOLDER

The same command again goes on where a killed one stopped, and does nothing once the folder is finished.
Several machines share the work by --shard 0/4, 1/4, ...
"""

import csv
import json
from collections.abc import Sequence
from typing import Annotated

import tyro

from data_module.sources.config import DemoConfig, MergeConfig, MimicConfig, OpenIConfig, TableConfig
from data_module.sources.films import FilmFormat, estimate_bytes
from runtime.cli import run_script
from runtime.config import to_dict
from runtime.files import read_json
from runtime.locks import Claim
from runtime.shards import parse_shard

# Films of each view in MIMIC-CXR-JPG 2.0.0, for the estimate of --dry-run.
MIMIC_FILMS = {"PA": 96_161, "AP": 147_173, "L": 117_986, "": 15_769}
Config = (
    Annotated[DemoConfig, tyro.conf.subcommand("demo")]
    | Annotated[TableConfig, tyro.conf.subcommand("csv")]
    | Annotated[OpenIConfig, tyro.conf.subcommand("open-i")]
    | Annotated[MimicConfig, tyro.conf.subcommand("mimic-cxr")]
)


def main(argv: Sequence[str] | None = None) -> None:
    choices = Config | Annotated[MergeConfig, tyro.conf.subcommand("merge")]
    config = tyro.cli(choices, args=argv, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
    if isinstance(config, MergeConfig):
        merge(config)
        return
    if config.num_workers < 1:
        raise ValueError(f"--num-workers {config.num_workers}: give at least 1")
    if config.dry_run:
        describe(config)
        return
    with Claim(config.out, parse_shard(getattr(config, "shard", "0/1"))) as claim:
        if config.overwrite and not claim.when_alone(lambda: None):
            raise ValueError(f"--overwrite: other shards are writing --out {config.out}: end them first")
        finished = prepare(config)
    if finished:
        record = read_json(config.out / "provenance.json")
        with (config.out / "skipped.csv").open(newline="") as lines:
            reasons = [line["reason"] for line in csv.DictReader(lines)]
        unwanted = sum(reason.startswith("left out") for reason in reasons)
        print(
            f"{config.out}: {record['num_rows']:,} rows {record.get('splits', '')}, "
            f"{len(reasons) - unwanted:,} skipped, {unwanted:,} of other views left out (skipped.csv)"
        )


def prepare(config: Config) -> bool:
    """Make the pairs folder that a source's config describes; False while other shards are missing."""
    from data_module.labeler import label_reports
    from data_module.sources.mimic_cxr import prepare_mimic
    from data_module.sources.open_i import prepare_open_i
    from data_module.sources.table import prepare_table

    match config:
        case DemoConfig():
            prepare_demo(config)
            return True
        case TableConfig():
            return prepare_table(config, label_reports) is not None
        case OpenIConfig():
            return prepare_open_i(config, label_reports) is not None
        case MimicConfig():
            return prepare_mimic(config)


def merge(config: MergeConfig) -> None:
    """Join shards and say what is left to do."""
    if config.dry_run:
        print(json.dumps(to_dict(config), indent=2))
        return
    from data_module.sources.merging import merge_shards

    with Claim(config.out):
        num_films = merge_shards(config)
    print(f"{config.out}: {num_films:,} films joined; now run their command with this --out, no --shard")


def prepare_demo(config: DemoConfig) -> None:
    """Render the demo, unless it is there."""
    from data_module.demo.source import write_demo
    from data_module.sources.output import begin_folder

    if config.num_studies < 1 or config.seed < 0:
        raise ValueError(f"--num-studies {config.num_studies} --seed {config.seed}: give at least 1 and 0")
    if config.size < 32:
        raise ValueError(f"--size {config.size}: give 32 or more, 64, 128 or 256 at best")
    settings = {"kind": "demo", "num_studies": config.num_studies, "size": config.size, "seed": config.seed}
    if begin_folder(config.out, settings, config.overwrite):
        print(f"{config.out}: already done")
        return
    write_demo(
        config.out, config.num_studies, config.size, config.seed, config.num_workers, config=to_dict(config)
    )


def describe(config: Config) -> None:
    """Print the resolved config and sizes. Files that are absent are said to be, and nothing is written."""
    print(json.dumps(to_dict(config), indent=2))
    film = (
        FilmFormat(config.size, "fit-crop", "png") if isinstance(config, DemoConfig) else config.film_format
    )
    match config:
        case DemoConfig():
            num_films, what = config.num_studies, "phantom films with reports"
        case TableConfig():
            there = config.table.is_file()
            num_films = sum(1 for _ in config.table.open("rb")) - 1 if there else 0
            what = "films, at most" if there else f"films: {config.table} is no file, so they are not counted"
        case OpenIConfig():
            num_films = 3955 if config.images or config.download else 0
            what = "films, about, with reports" if num_films else "films: about 3,900 reports, text only"
        case MimicConfig():
            num_films = sum(MIMIC_FILMS.get(view, 0) for view in config.wanted_views)
            what = "films, about, of a whole download"
    print(f"would write {num_films:,} {what}, {film.size} x {film.size}, to {config.out}")
    print(f"disk: about {estimate_bytes(num_films, film) / 1e6:,.1f} MB of films")


if __name__ == "__main__":
    run_script(main)
