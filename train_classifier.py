"""Train a CheXpert classifier (14 findings) on the train split of a pairs folder.

    python train_classifier.py --data runs/demo/data --out runs/demo/classifier

With --targets controls it learns what else a prompt may ask for instead: sides and grades of findings, sex,
view and age, to check drawn films against their prompts (python -m evaluation images --controls RUN).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig
from training.dry_run import describe_run
from vision_module.config import Augmentation, ResNetSize


@dataclass(frozen=True)
class Config:
    """Classifier training."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; films of split train are learned; those of split validation set the thresholds."""
    out: Path = setting(Path("runs/demo/classifier"), identity=False)
    """Run folder to write."""
    targets: Literal["findings", "controls"] = "findings"
    """What is learned: the findings, or sides and grades as reports tell them, sex, view and age."""
    image_size: int = 64
    """Films are fitted and cropped to this side."""
    uncertain: Literal["ignore", "positive", "negative"] = "ignore"
    """What an uncertain (-1) label becomes in the loss."""
    blank: Literal["negative", "ignore"] = "negative"
    """What a finding that is not mentioned becomes in the loss."""
    init_from: str = ""
    """Run of this script to start from, such as one on synthetic films, whose size it keeps; or
    timm:NAME:FILE, a timm network, such as one trained on ImageNet; empty: a ResNet of the sizes below from
    scratch."""
    overwrite: bool = setting(False, identity=False)
    """Train anew where --out already holds a run."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""
    size: ResNetSize = field(default_factory=ResNetSize)
    augmentation: Augmentation = field(default_factory=Augmentation)
    train: TrainConfig = field(default_factory=TrainConfig)


PRESETS = {
    "demo": Config(
        train=TrainConfig(
            num_steps=400, batch_size=64, learning_rate=3e-3, warmup_steps=40, weight_decay=0.05
        )
    ),
    # CXR-IRGen scores with a public classifier; this one is ResNet-50 at 224 for MIMIC-CXR-JPG.
    "paper": Config(
        data=Path("data/mimic-cxr"),
        out=Path("runs/paper/classifier"),
        image_size=224,
        size=ResNetSize(64, (256, 512, 1024, 2048), (3, 4, 6, 3), "bottleneck"),
        train=TrainConfig(
            num_steps=40_000,
            batch_size=64,
            learning_rate=5e-4,
            warmup_steps=1000,
            weight_decay=0.05,
            validate_every=2000,
            num_validation_batches=40,
            checkpoint_every=2000,
            num_workers=12,
        ),
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Parse the flags and train."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.image_size < 32:
        raise ValueError(f"--image-size {config.image_size}: the network needs films of 32 or more")
    if config.dry_run:
        _describe(config)
    else:
        train(config)


def train(config: Config) -> None:
    import torch
    from transformers import PreTrainedModel
    from transformers.utils import logging

    from data_module.controls import CONTROLS, table_controls
    from data_module.film_store import FilmStore
    from data_module.findings import FINDINGS, as_binary
    from data_module.pairs import PairsFolder
    from runtime.runs import RunFolder
    from training.loop import fit
    from vision_module.classifier import (
        FilmSource,
        build_classifier,
        masked_bce,
        predict_store,
        save_classifier,
        start_classifier,
        write_json,
    )

    logging.disable_progress_bar()  # transformers' own, for one small file
    pairs = PairsFolder.open(config.data)
    train_rows, validation = pairs.split("train"), pairs.split("validation")
    run = RunFolder.create(config.out, "classifier", config, config.overwrite)
    policy = (config.uncertain, config.blank)
    if config.targets == "controls":
        names, learned = CONTROLS, [table_controls(rows.table) for rows in (train_rows, validation)]
    else:
        names, learned = FINDINGS, [as_binary(rows.labels, *policy) for rows in (train_rows, validation)]
    films = FilmStore(validation.image_paths, config.image_size)
    train_films = FilmStore(train_rows.image_paths, config.image_size)
    torch.manual_seed(config.train.seed)

    def save(model: PreTrainedModel, folder: Path) -> None:
        from evaluation.statistics.controls import score_shown
        from evaluation.statistics.findings import score_auroc, tune_thresholds  # late: scikit-learn

        probabilities = predict_store(model, films)
        if config.targets == "controls":
            shown = score_shown(table_controls(validation.table), probabilities)
            save_classifier(model, folder, config.image_size, {})
            write_json(run.root / "metrics.json", {"num_validation": len(validation), "shown": shown})
            print("  ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None))
            return
        scores = score_auroc(validation.labels, probabilities, *policy)
        save_classifier(model, folder, config.image_size, tune_thresholds(validation.labels, probabilities))
        write_json(run.root / "metrics.json", {"num_validation": len(validation), "auroc": scores})
        for name in FINDINGS:
            value = scores["per_finding"].get(name)
            print(f"  {name:28s} {f'{value:.3f}' if value is not None else scores['skipped'][name]}")
        if scores["mean"] is not None:
            print(f"validation AUROC, mean of {len(scores['per_finding'])}: {scores['mean']:.4f}")

    fit(
        start_classifier(config.init_from, names)
        if config.init_from
        else build_classifier(config.size, names),
        masked_bce,
        FilmSource(train_films, learned[0], config.augmentation),
        FilmSource(films, learned[1]),
        config.train,
        run,
        save,
    )


def _describe(config: Config) -> None:
    import torch

    from vision_module.classifier import build_classifier

    num_features, side = config.size.hidden_sizes[-1], config.image_size
    sizes = {"pixel_values": f"(B, 1, {side}, {side})", "features": f"(B, {num_features})"}
    models, forwards = {}, {}
    if config.init_from:
        sizes = {"pixel_values": sizes["pixel_values"], "classifier": "of the size of --init-from"}
    else:
        models = {"classifier": lambda: build_classifier(config.size)}
        forwards = {"classifier": lambda model: model(torch.zeros(1, 1, side, side))}
    describe_run(config, models, bool(config.train.ema_decay), ("classifier",), sizes, forwards)


if __name__ == "__main__":
    run_script(main)
