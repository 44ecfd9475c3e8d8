"""Score films, reports and pairs: python -m evaluation images|reports|pairs|all|label|summary --help

Any pairs folder can be scored, whoever made it: see README, "The pairs folder".
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro


@dataclass(frozen=True)
class Settings:
    """Settings of the four scoring commands."""

    real: Path
    """Pairs folder of real films and reports."""
    out: Path
    """Folder for results.json, results.md, auroc.png and the cache. Sections already there are kept."""
    synthetic: Path | None = None
    """Pairs folder of synthetic films and reports. Not needed for reports with --reports."""
    classifier: str | None = None
    """Run folder of train_classifier.py, a transformers image classifier, or
    torchxrayvision:densenet121-res224-all. Not needed for reports."""
    reports: Path | None = None
    """CSV of generated reports for the real films: file_name, report.
    Default: heldout_reports.csv in the synthetic folder."""
    split: str = "test"
    """Rows of the real folder to compare with."""
    batch_size: int = 64
    """Films per forward pass."""
    seed: int = 0
    """Random subsets of FID and KID."""
    device: str = "auto"
    """torch device; auto takes the accelerator where there is one."""
    dry_run: bool = False
    """Print the resolved settings and stop."""

    sections: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Images(Settings):
    """FID, KID and AUROC of synthetic films, beside the real films."""

    sections: ClassVar[tuple[str, ...]] = ("films",)


@dataclass(frozen=True)
class Reports(Settings):
    """Clinical F1 and word overlap of generated reports of held-out real films."""

    sections: ClassVar[tuple[str, ...]] = ("reports",)


@dataclass(frozen=True)
class Pairs(Settings):
    """Agreement of prompt, synthetic film and synthetic report."""

    sections: ClassVar[tuple[str, ...]] = ("pairs",)


@dataclass(frozen=True)
class All(Settings):
    """Films, reports and pairs."""

    sections: ClassVar[tuple[str, ...]] = (
        "reports",
        "films",
        "pairs",
    )  # the cheap one first: its errors show at once


@dataclass(frozen=True)
class Label:
    """Label a table of reports: its rows and columns kept, the 14 findings added."""

    reports: Path
    """CSV with a column `report`."""
    out: Path
    """CSV to write."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Summary:
    """Results of several runs in one table; folders NAME_0, NAME_1, ... are seeds of one system."""

    results: tyro.conf.Positional[tuple[Path, ...]]
    """Folders with a results.json."""
    out: Path
    """Markdown file to write."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


Command = (
    Annotated[Images, tyro.conf.subcommand("images")]
    | Annotated[Reports, tyro.conf.subcommand("reports")]
    | Annotated[Pairs, tyro.conf.subcommand("pairs")]
    | Annotated[All, tyro.conf.subcommand("all")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Summary, tyro.conf.subcommand("summary")]
)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run it. Raises ValueError for bad input."""
    command: Any = tyro.cli(
        Command,
        args=argv,
        description=__doc__,
        prog="python -m evaluation",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if command.dry_run:
        print(json.dumps(dataclasses.asdict(command), indent=2, default=str))
        return
    if isinstance(command, Label):
        from evaluation.labeler import label_table

        label_table(command.reports, command.out)
        return
    if isinstance(command, Summary):
        from evaluation.summary import summarise

        print(summarise(command.results, command.out))
        return
    _score(command)


def _score(command: Settings) -> None:
    # Imported here so that --help, --dry-run and label do not wait for torch.
    import torch
    from transformers.utils import logging

    from evaluation.run import run_sections

    logging.disable_progress_bar()  # transformers' own, for one small file
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = str(accelerator or "cpu") if command.device == "auto" else command.device
    run_sections(dataclasses.replace(command, device=device), command.sections)


if __name__ == "__main__":
    # evaluation stands alone, so it has its own copy of what training.run_script does for the root scripts.
    try:
        main()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
