"""Score films, reports and pairs: python -m evaluation COMMAND --help

Scored is any pairs folder, folder of films (with a CSV of prompts or reports) or CSV of reports: see README.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from runtime.cli import run_script


@dataclass(frozen=True)
class Settings:
    """Settings of the scoring commands."""

    real: Path
    """Pairs folder of real films and reports (or a plain folder of films; or, for reports, a CSV)."""
    out: Path
    """Folder for results.json, results.md, report.html and the cache. Sections already there are kept."""
    synthetic: Path | None = None
    """Pairs folder of synthetic films and reports, or a plain folder of films. Not needed for reports with
    --reports."""
    captions: Path | None = None
    """CSV for a plain --synthetic folder: file_name and prompt (or report). The findings are read off it."""
    classifier: str | None = None
    """Run folder of train_classifier.py, a transformers image classifier, or
    torchxrayvision:densenet121-res224-all (or torchxrayvision:FILE). Not needed for reports."""
    features: tuple[str, ...] = ()
    """More sources of features for FID and its kin: inception:FILE, open-clip:FOLDER (BiomedCLIP), a
    transformers folder (RadDINO, CLIP), or what --classifier takes. Without --classifier the first one gives
    the headline figures, and findings on films are skipped."""
    clip: str | None = None
    """Domain CLIP for film-report scores and retrieval: a CLIPModel folder or run folder of train_clip.py."""
    labeler: str = "rules"
    """Reads findings off reports: rules, or chexbert:FILE (the published chexbert.pth, beside vocab.txt)."""
    meteor: bool = False
    """Adds METEOR. Needs Java, and half a minute."""
    bert_score: Path | None = None
    """Folder of a transformers text model: adds BERTScore."""
    bert_score_layer: int = -1
    """Hidden state that BERTScore compares; -1 is the last."""
    radgraph: str | None = None
    """Model of the radgraph package (radgraph-xl ...): adds RadGraph F1. Needs the extra `radgraph`."""
    reports: Path | None = None
    """CSV of generated reports for the real films: file_name, report.
    Default: heldout_reports.csv in the synthetic folder."""
    guidance: tuple[Path, ...] = ()
    """Results folders of the same system at other guidance scales: adds AUROC and FID over the scale. The
    scale is read off the films' provenance.json, else off a folder's name, NAME_SCALE."""
    split: str = "test"
    """Rows of the real folder to compare with."""
    uncertain: Literal["ignore", "positive", "negative"] = "ignore"
    """What an uncertain finding counts as for AUROC, average precision and ECE."""
    blank: Literal["negative", "ignore"] = "negative"
    """What a finding that is not mentioned counts as for AUROC, average precision and ECE."""
    batch_size: int = 64
    """Films per forward pass."""
    num_bootstrap: int = 1000
    """Resamples of patients for the intervals; 0: none."""
    seed: int = 0
    """Random subsets of FID and KID, and resamples."""
    device: str = "auto"
    """torch device; auto takes the accelerator where there is one."""
    dry_run: bool = False
    """Print the resolved settings and stop."""

    sections: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Images(Settings):
    """FID, KID, coverage, diversity and AUROC of synthetic films, beside the real films."""

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
class Privacy(Settings):
    """Synthetic films and reports that are near-copies of training ones."""

    sections: ClassVar[tuple[str, ...]] = ("privacy",)


@dataclass(frozen=True)
class All(Settings):
    """Reports, films, pairs and privacy."""

    # The cheap one first: its errors show at once.
    sections: ClassVar[tuple[str, ...]] = ("reports", "films", "pairs", "privacy")


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

    results: tyro.conf.Positional[tuple[str, ...]]
    """Folders with a results.json; NAME=FOLDER gives one another name."""
    out: Path
    """Markdown file to write."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Compare:
    """Which of two scored systems is better: paired differences, p-values adjusted (Holm)."""

    a: tyro.conf.Positional[Path]
    """--out folder of the first system."""
    b: tyro.conf.Positional[Path]
    """--out folder of the second system."""
    out: Path
    """Markdown file to write; the figures go beside it as .json."""
    num_bootstrap: int = 2000
    """Resamples of patients."""
    seed: int = 0
    """Of the resamples."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Negation:
    """Which report metrics notice a flipped negation, on shipped cases."""

    out: Path
    """Markdown file to write; the figures go beside it as .json."""
    meteor: bool = False
    """Adds METEOR. Needs Java, and half a minute."""
    bert_score: Path | None = None
    """Folder of a transformers text model: adds BERTScore."""
    bert_score_layer: int = -1
    """Hidden state that BERTScore compares; -1 is the last."""
    radgraph: str | None = None
    """Model of the radgraph package: adds RadGraph F1."""
    device: str = "cpu"
    """torch device."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Mix:
    """A training set of real and synthetic films for train_classifier.py; its other splits stay real."""

    real: Path
    """Pairs folder of real films."""
    synthetic: Path
    """Pairs folder of synthetic films."""
    out: Path
    """Pairs folder to write."""
    num_real: int = -1
    """Real training films, drawn at random; -1: all."""
    num_synthetic: int = -1
    """Synthetic films, drawn at random; -1: all."""
    only: tuple[str, ...] = ()
    """Take synthetic films that are positive for one of these findings, such as --only Fracture."""
    seed: int = 0
    """Which films are drawn."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Utility:
    """AUROC on real films of classifiers trained on different films, with paired intervals."""

    classifiers: tyro.conf.Positional[tuple[str, ...]]
    """NAME=RUN each; runs of one name are its seeds. The first name is what the others are compared with."""
    real: Path
    """Pairs folder of real films."""
    out: Path
    """Folder for utility.md, utility.json and the cache."""
    split: str = "test"
    """Real films to score."""
    batch_size: int = 64
    """Films per forward pass."""
    num_bootstrap: int = 5000
    """Resamples of patients; with fewer than 40 a comparison none stays below 0.05 after Holm."""
    seed: int = 0
    """Of the resamples."""
    device: str = "cpu"
    """torch device."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


Command = (
    Annotated[Images, tyro.conf.subcommand("images")]
    | Annotated[Reports, tyro.conf.subcommand("reports")]
    | Annotated[Pairs, tyro.conf.subcommand("pairs")]
    | Annotated[Privacy, tyro.conf.subcommand("privacy")]
    | Annotated[All, tyro.conf.subcommand("all")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Summary, tyro.conf.subcommand("summary")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Negation, tyro.conf.subcommand("negation")]
    | Annotated[Mix, tyro.conf.subcommand("mix")]
    | Annotated[Utility, tyro.conf.subcommand("utility")]
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
    # Imported where they are needed, so that --help, --dry-run and label do not wait for torch.
    if isinstance(command, Label):
        from data_module.labeler import label_table

        label_table(command.reports, command.out)
    elif isinstance(command, Summary):
        from evaluation.output.summary import summarise

        print(summarise(command.results, command.out))
    elif isinstance(command, Compare):
        from evaluation.output.compare import compare_systems

        print(compare_systems(command.a, command.b, command.out, command.num_bootstrap, command.seed))
    elif isinstance(command, Negation):
        from evaluation.context import open_scorers
        from evaluation.reports.negation import write_negation

        print(write_negation(command.out, open_scorers(command)))
    elif isinstance(command, Mix):
        from data_module.mixing import mix_folders

        flags = dataclasses.asdict(command)
        del flags["dry_run"]
        print(f"{len(mix_folders(**flags))} rows written to {command.out}")
    elif isinstance(command, Utility):
        from evaluation.utility.training_sets import compare_training_sets

        flags = dataclasses.asdict(command)
        del flags["dry_run"]
        print(compare_training_sets(num=flags.pop("num_bootstrap"), **flags))
    else:
        _score(command)


def _score(command: Settings) -> None:
    import torch
    from transformers.utils import logging

    from evaluation.run import run_sections

    logging.disable_progress_bar()  # transformers' own, for one small file
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = str(accelerator or "cpu") if command.device == "auto" else command.device
    run_sections(dataclasses.replace(command, device=device), command.sections)


if __name__ == "__main__":
    run_script(main)
