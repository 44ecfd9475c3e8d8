"""What a scoring command works with: folders, networks and labelers, opened once."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from data_module.pairs import PairsFolder, hash_folder
from evaluation.inputs.plain_folder import open_folder
from evaluation.networks.classifier import FilmClassifier
from evaluation.reports.section import Labeler, Scorer
from runtime.files import file_hash

CHEXBERT = "chexbert:"


class Settings(Protocol):
    """What a scoring command needs to know (see evaluation/__main__.py)."""

    real: Path
    out: Path
    synthetic: Path | None
    captions: Path | None
    classifier: str | None
    features: tuple[str, ...]
    clip: str | None
    labeler: str
    meteor: bool
    bert_score: Path | None
    bert_score_layer: int
    radgraph: str | None
    reports: Path | None
    guidance: tuple[Path, ...]
    split: str
    uncertain: str
    blank: str
    batch_size: int
    num_bootstrap: int
    seed: int
    device: str


@dataclass
class Context:
    """Opened inputs of a command. Networks are opened when they are first asked for."""

    settings: Settings
    real: PairsFolder = field(init=False)
    synthetic: PairsFolder | None = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        for name, least in (("batch_size", 1), ("num_bootstrap", 0)):
            value = getattr(settings, name)
            if value < least:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
        self.real = open_folder(settings.real, "--real", settings.split)
        self.real.split(settings.split)  # say at once that the split is empty
        self.synthetic = None
        if settings.synthetic:
            self.synthetic = open_folder(settings.synthetic, "--synthetic", settings.split, settings.captions)

    @property
    def cache_dir(self) -> Path:
        """Where film features and scores are kept."""
        return self.settings.out / "cache"

    @property
    def inputs(self) -> dict[str, Any]:
        """What every section was scored on."""
        return {
            "real": str(self.settings.real),
            "real_hash": hash_folder(self.real),
            "synthetic": str(self.settings.synthetic) if self.synthetic else None,
            "synthetic_hash": hash_folder(self.synthetic) if self.synthetic else None,
            "split": self.settings.split,
        }

    @cached_property
    def classifier(self) -> FilmClassifier | None:
        """The classifier of --classifier; None without the flag."""
        if self.settings.classifier is None:
            return None
        return FilmClassifier.open(self.settings.classifier, self.settings.device)

    @cached_property
    def extractors(self) -> list[FilmClassifier]:
        """Where features come from: the classifier first, then --features. ValueError for neither."""
        from evaluation.networks.extractors import open_extractor

        others = [open_extractor(source, self.settings.device) for source in self.settings.features]
        found = [self.classifier, *others] if self.classifier else others
        if not found:
            raise ValueError(
                "--classifier is missing: a run folder of train_classifier.py, or "
                "torchxrayvision:densenet121-res224-all; or name another source of features with --features"
            )
        return found

    @cached_property
    def labeler(self) -> Labeler:
        """The labeler of --labeler."""
        if self.settings.labeler == "rules":
            from data_module.labeler import label_reports

            return label_reports
        if self.settings.labeler.startswith(CHEXBERT):
            from evaluation.networks.chexbert import CheXbert

            return CheXbert(self.settings.labeler.removeprefix(CHEXBERT), self.settings.device)
        raise ValueError(f"--labeler {self.settings.labeler}: choose rules or {CHEXBERT}FILE")

    @property
    def labeler_name(self) -> dict[str, str]:
        """What to write down of the labeler."""
        name = self.settings.labeler
        _ = self.labeler  # says what is wrong with the file
        if not name.startswith(CHEXBERT):
            return {"labeler": name}
        path = Path(name.removeprefix(CHEXBERT)).expanduser()
        return {"labeler": name, "labeler_hash": file_hash(path)[:16]}


def open_scorers(settings: Settings) -> dict[str, Scorer]:
    """The further report scores that the flags ask for, by the name of their mean."""
    from evaluation.reports.learned import BertScore, score_meteor, score_radgraph

    scorers: dict[str, Scorer] = {"meteor": score_meteor} if settings.meteor else {}
    if settings.bert_score:
        scorers["bert_score_f1"] = BertScore(settings.bert_score, settings.bert_score_layer, settings.device)
    if settings.radgraph:
        scorers["radgraph_f1"] = lambda references, reports: score_radgraph(
            references, reports, settings.radgraph
        )
    return scorers
