"""The commands of `python -m evaluation` and their flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from evaluation.settings import ScoreSettings


@dataclass(frozen=True)
class Images(ScoreSettings):
    """FID, KID, coverage, diversity and AUROC of synthetic films, beside the real films."""

    sections: ClassVar[tuple[str, ...]] = ("films",)


@dataclass(frozen=True)
class Reports(ScoreSettings):
    """Clinical F1 and word overlap of generated reports of held-out real films."""

    sections: ClassVar[tuple[str, ...]] = ("reports",)


@dataclass(frozen=True)
class Pairs(ScoreSettings):
    """Agreement of prompt, synthetic film and synthetic report."""

    sections: ClassVar[tuple[str, ...]] = ("pairs",)


@dataclass(frozen=True)
class Privacy(ScoreSettings):
    """Synthetic films and reports that are near-copies of training ones."""

    sections: ClassVar[tuple[str, ...]] = ("privacy",)


@dataclass(frozen=True)
class All(ScoreSettings):
    """Reports, films, pairs and privacy."""

    # The cheap one first: its errors show at once.
    sections: ClassVar[tuple[str, ...]] = ("reports", "films", "pairs", "privacy")


@dataclass(frozen=True)
class Metrics:
    """Every metric: direction, range, convention, source, and what it needs."""

    out: Path | None = None
    """Markdown file to write, such as docs/metrics.md."""
    schema: Path | None = None
    """Markdown file for what results.json holds, such as docs/results_schema.md."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


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
class Protocol:
    """A published benchmark's protocol on local files; each figure says whether it compares, and why."""

    real: Path
    """Its table of real test films (path, annotated_prompt, chexpert_labels), or a pairs folder."""
    synthetic: Path
    """Its table of synthetic films (prompt, img_savename), or a pairs folder."""
    raddino: Path
    """Folder of microsoft/rad-dino. Another model with a pooled output may stand in its place; no figure of
    its features compares with published ones then, and each says so."""
    out: Path
    """Folder for protocol.json and protocol.md."""
    protocol: Literal["chexgenbench"] = "chexgenbench"
    """Which one: CheXGenBench (Dutt et al., 2025)."""
    real_images: Path | None = None
    """Folder that the real table's paths start from; by default the table's."""
    synthetic_images: Path | None = None
    """The same of the synthetic table."""
    inception: Path | None = None
    """torch-fidelity's InceptionV3 weights: adds FID and KID on them."""
    clip: str | None = None
    """Folder of microsoft/BiomedVLP-BioViL-T, or another model with two towers: adds image-text alignment."""
    frd: bool = False
    """Adds FRD; some seconds a film. Needs the extra `frd` (pyradiomics)."""
    draws: Path | None = None
    """Table of several films for each training prompt, or a pairs folder: adds privacy. Needs --training."""
    draws_images: Path | None = None
    """Folder of its films."""
    training: Path | None = None
    """Table of the real training films of these prompts, or a pairs folder."""
    training_images: Path | None = None
    """Folder of its films."""
    reidentify: Path | None = None
    """ResNet-50_epoch11_data_handling_RPN.pth: adds patient re-identification."""
    split: str = "test"
    """Rows of --real, where it is a pairs folder."""
    batch_size: int = 32
    """Films per forward pass."""
    device: str = "auto"
    """torch device."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Rexrank:
    """Generated reports as ReXrank takes them: its JSON file with each study's model_prediction."""

    real: Path
    """Pairs folder of real films and reports."""
    reports: Path
    """CSV of generated reports: file_name (or study_id), report."""
    out: Path
    """JSON file to write."""
    split: str = "test"
    """Rows of the real folder."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Summary:
    """Results of several runs in one table; folders NAME_0, NAME_1, ... are seeds of one system."""

    results: tyro.conf.Positional[tuple[str, ...]]
    """Folders with a results.json; NAME=FOLDER gives one another name."""
    out: Path
    """File to write: Markdown (.md), LaTeX (.tex) or CSV (.csv)."""
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
    """File to write: Markdown (.md), LaTeX (.tex) or CSV (.csv); the figures go beside it as .json."""
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
    """File to write: Markdown (.md), LaTeX (.tex) or CSV (.csv); the figures go beside it as .json."""
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
    repeat: int = 1
    """Each synthetic film so many times, which oversamples them against the real ones."""
    passed_only: bool = False
    """Leave out pairs that failed the tests of sample_pairs.py --keep and that its --keep-best kept all the
    same: their films may not show what they are labeled with."""
    seed: int = 0
    """Which films are drawn."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Utility:
    """AUROC on real films of classifiers trained on different films, with paired intervals."""

    classifiers: tyro.conf.Positional[tuple[str, ...]]
    """NAME=RUN each; runs of one name are its seeds. The first name is what the others are compared with.
    NAME@NUM says of how many synthetic films: such names are drawn as curves over NUM."""
    real: Path
    """Pairs folder of real films."""
    out: Path
    """Folder for utility.md, utility.json, the plot (utility.png, utility.svg) and the cache."""
    split: str = "test"
    """Real films to score."""
    rare: tuple[str, ...] = ()
    """Findings whose mean is a figure of its own, such as --rare Fracture Pneumothorax."""
    by: tuple[str, ...] = ()
    """Columns of the real folder whose groups are told apart: sex, view, age:40,60 ..."""
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


@dataclass(frozen=True)
class Memorization:
    """Films drawn with many seeds from training prompts: how often does a training film come back?"""

    real: Path
    """Pairs folder that the generator was trained on: its rows of split train; all others are held out."""
    draws: Path
    """Pairs folder of several films for each of some training prompts: sample_pairs.py --split train
    --num-prompts 32 --num-pairs 512."""
    features: str
    """Network whose features are compared beside pixels, best one of re-identification: reidentify:FILE, or
    whatever `--features` of the scoring commands takes."""
    out: Path
    """Folder for memorization.md, memorization.json and the cache."""
    batch_size: int = 64
    """Films per forward pass."""
    device: str = "auto"
    """torch device."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Membership:
    """Who was in the training set? AUROC, and members found at 1% false alarms, from losses of each film."""

    losses: Path
    """CSV of audit_membership.py or of any other model: file_name, split, perhaps patient_id, and a column
    for each loss, named loss_..."""
    out: Path
    """Folder for membership.md and membership.json."""
    num_bootstrap: int = 2000
    """Resamples of patients."""
    seed: int = 0
    """Of the resamples."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


@dataclass(frozen=True)
class Edits:
    """Edited films against exact counterfactuals: error by region, findings flipped and kept, identity."""

    edited: Path
    """Pairs folder of edit_films.py --pairs, or one with the same columns: study_id, edited_from."""
    truth: Path
    """Folder of `python -m data_module counterfactuals`."""
    classifier: Path
    """Run of train_classifier.py, or any CheXpert classifier."""
    out: Path
    """Folder for edits.md, edits.json, edits.png and the cache."""
    batch_size: int = 64
    """Films per forward pass."""
    num_bootstrap: int = 2000
    """Resamples of patients."""
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
    | Annotated[Metrics, tyro.conf.subcommand("metrics")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Summary, tyro.conf.subcommand("summary")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Protocol, tyro.conf.subcommand("protocol")]
    | Annotated[Rexrank, tyro.conf.subcommand("rexrank")]
    | Annotated[Negation, tyro.conf.subcommand("negation")]
    | Annotated[Mix, tyro.conf.subcommand("mix")]
    | Annotated[Utility, tyro.conf.subcommand("utility")]
    | Annotated[Memorization, tyro.conf.subcommand("memorization")]
    | Annotated[Membership, tyro.conf.subcommand("membership")]
    | Annotated[Edits, tyro.conf.subcommand("edits")]
)
