"""What a scoring command works with: folders, networks and labelers, opened once."""

from dataclasses import InitVar, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_module.pairs import PairsFolder, hash_folder
from evaluation.filters.kept import read_kept
from evaluation.inputs.groupings import Grouping, read_groupings
from evaluation.inputs.plain_folder import open_folder
from evaluation.inputs.rows import ReportPairs
from evaluation.reports.inputs import ReportLabeler
from evaluation.settings import ScoreSettings
from runtime.devices import resolve_device
from runtime.files import file_hash

if TYPE_CHECKING:
    import torch

    from evaluation.networks.classifier import FilmClassifier

CHEXBERT = "chexbert:"


@dataclass
class Context:
    """Opened inputs of a command. Networks are opened when they are first asked for."""

    settings: ScoreSettings
    real_at_hand: InitVar[PairsFolder | None] = None  # else --real is opened
    synthetic: PairsFolder | None = None
    generated: ReportPairs | None = None  # generated reports at hand; else --reports names their table

    real: PairsFolder = field(init=False)

    def __post_init__(self, real_at_hand: PairsFolder | None) -> None:
        settings = self.settings
        for name, least in (("batch_size", 1), ("num_bootstrap", 0), ("min_group", 2)):
            value = getattr(settings, name)
            if value < least:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
        self.real = real_at_hand or open_folder(settings.real, "--real", settings.split)
        self.real.split(settings.split)  # say at once that the split is empty
        if self.synthetic is None and settings.synthetic:
            self.synthetic = open_folder(settings.synthetic, "--synthetic", settings.split, settings.captions)
        _ = self.groupings  # say at once that a column is not there

    @property
    def films(self) -> PairsFolder:
        """The synthetic folder. ValueError where none was named."""
        if self.synthetic is None:
            raise ValueError("--synthetic is missing: the pairs folder of the generator")
        return self.synthetic

    @cached_property
    def groupings(self) -> list[Grouping]:
        """The groups of --by: values of the split's real rows and of the synthetic ones."""
        made = None if self.synthetic is None else self.synthetic.table
        return read_groupings(self.settings.by, self.real.split(self.settings.split).table, made)

    @property
    def cache_dir(self) -> Path:
        """Where film features and scores are kept."""
        return self.settings.out / "cache"

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What every section was scored on."""
        kept = read_kept(self.synthetic.root) if self.synthetic else None
        return {
            "real": str(self.settings.real),
            "real_hash": hash_folder(self.real),
            "synthetic": str(self.settings.synthetic) if self.synthetic else None,
            "synthetic_hash": hash_folder(self.synthetic) if self.synthetic else None,
            "split": self.settings.split,
            **({"kept": kept} if kept else {}),
        }

    @cached_property
    def device(self) -> "torch.device":
        """Where networks compute."""
        return resolve_device(self.settings.device)

    @cached_property
    def classifier(self) -> "FilmClassifier | None":
        """The classifier of --classifier; None without the flag."""
        from evaluation.networks.classifier import FilmClassifier

        if self.settings.classifier is None:
            return None
        return FilmClassifier.open(self.settings.classifier, self.device)

    @cached_property
    def controls(self) -> "FilmClassifier | None":
        """The network of --controls; None without the flag."""
        from evaluation.networks.classifier import FilmClassifier

        if self.settings.controls is None:
            return None
        return FilmClassifier.open_controls(self.settings.controls, self.device)

    @cached_property
    def extractors(self) -> "list[FilmClassifier]":
        """Where features come from: the classifier first, then --features. ValueError for neither."""
        from evaluation.networks.extractors import open_extractor

        others = [open_extractor(source, self.device) for source in self.settings.features]
        found = [self.classifier, *others] if self.classifier else others
        if not found:
            raise ValueError(
                "--classifier is missing: a run folder of train_classifier.py, or "
                "torchxrayvision:densenet121-res224-all; or name another source of features with --features"
            )
        return found

    @cached_property
    def reidentifier(self) -> "FilmClassifier":
        """Whose features the privacy section compares: the network of --reidentify, else the first one."""
        from evaluation.networks.extractors import open_extractor

        source = self.settings.reidentify
        return open_extractor(source, self.device) if source else self.extractors[0]

    @property
    def network_names(self) -> dict[str, Any]:
        """What to write down of extractors and classifier."""
        named: dict[str, Any] = {"features": [extractor.source for extractor in self.extractors]}
        named["features_hash"] = self.extractors[0].identity
        if self.classifier:
            named |= {"classifier": self.classifier.source, "classifier_hash": self.classifier.identity}
        if self.controls:
            named |= {"controls": self.controls.source, "controls_hash": self.controls.identity}
        return named

    @cached_property
    def labeler(self) -> ReportLabeler:
        """The labeler of --labeler."""
        if self.settings.labeler == "rules":
            from data_module.labeler import label_reports

            return label_reports
        if self.settings.labeler.startswith(CHEXBERT):
            from evaluation.networks.chexbert import CheXbert

            return CheXbert(self.settings.labeler.removeprefix(CHEXBERT), self.device)
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
