#!/usr/bin/env python
"""Train the domain CLIP on films and their texts (a stock transformers CLIPModel with its tokenizer)."""

from dataclasses import dataclass, field
from pathlib import Path

from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig
from training.dry_run import describe_run
from vision_module.config import ClipConfig


@dataclass(frozen=True)
class Config:
    data: Path = Path("runs/demo/data")
    """Pairs folder; its train split is trained on."""
    out: Path = setting(Path("runs/demo/clip"), identity=False)
    """Run folder."""
    image_size: int = 64
    """Side of the films that a CLIP trained from scratch takes."""
    texts: tuple[str, ...] = (
        "prompt",
        "impression_section",
        "findings_section",
        "free_prompt",
        "free_prompt_2",
    )
    """Columns to draw an item's text from, with equal chances among those that are not empty; free_prompt
    and its kin are put together from the row, see data_module/free_prompts.py."""
    findings_weight: float = 5.0
    """Weight of reading the findings off the text and film embeddings; 0 is CLIP's loss alone."""
    controls_weight: float = 5.0
    """Weight of reading sides, grades, sex, view and age off them, where a text, or a film's row, tells."""
    model: ClipConfig = field(default_factory=ClipConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = setting(False, identity=False)
    """Delete a run that is in --out and start anew."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""


PRESETS = {
    "demo": Config(
        train=TrainConfig(
            num_steps=350,
            batch_size=64,
            optimizer="muon",
            learning_rate=2e-3,
            ema_decay=0.99,
            validate_every=0,
        ),
    ),
    # CXR-IRGen uses OpenAI's ViT-B/32 as it is; this fine-tunes it on the films.
    "paper": Config(
        image_size=224,
        findings_weight=0.0,
        controls_weight=0.0,
        model=ClipConfig(init_from="openai/clip-vit-base-patch32"),
        train=TrainConfig(num_steps=20_000, batch_size=128, learning_rate=1e-5, weight_decay=0.1),
    ),
}


def objective(model, batch, generator):
    return model(**batch)


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        _describe(config)
    else:
        train(config)


def train(config: Config) -> None:
    import torch

    from data_module.controls import CONTROLS
    from data_module.findings import FINDINGS
    from data_module.pairs import PairsFolder
    from data_module.text_columns import text_columns
    from runtime.runs import RunFolder
    from training.loop import fit
    from vision_module.clip import (
        ContrastiveLoss,
        build_clip,
        load_tokenizer,
        make_processor,
        train_clip_tokenizer,
    )
    from vision_module.clip_data import FilmTexts

    pairs = PairsFolder.open(config.data)
    train_rows = pairs.split("train")
    run = RunFolder.create(config.out, "clip", config, config.overwrite)
    if config.model.init_from:
        tokenizer = load_tokenizer(config.model.init_from)
    else:
        corpus = text_columns(train_rows, config.texts).T.ravel().tolist()
        tokenizer = train_clip_tokenizer(corpus, config.model.vocab_size)
    torch.manual_seed(config.train.seed)
    clip = build_clip(config.model, tokenizer, config.image_size)
    processor = make_processor(clip, config.model.init_from)
    train_data, validation_data = (
        FilmTexts(rows, config.texts, tokenizer, processor, config.controls_weight > 0)
        for rows in (train_rows, pairs.split("validation"))
    )

    def save(model: ContrastiveLoss, folder: Path) -> None:
        model.clip.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        processor.save_pretrained(folder)

    model = ContrastiveLoss(
        clip, len(FINDINGS), config.findings_weight, len(CONTROLS), config.controls_weight
    )
    fit(model, objective, train_data, validation_data, config.train, run, save)


def _describe(config: Config) -> None:
    import torch

    from vision_module.clip import build_clip

    def forward(clip: "torch.nn.Module") -> object:
        words = torch.zeros(1, 77, dtype=torch.long)
        film = torch.zeros(1, 3, config.image_size, config.image_size)
        return clip(input_ids=words, pixel_values=film)

    models = {}
    if not config.model.init_from:
        models["clip"] = lambda: build_clip(config.model, None, config.image_size)
    sizes = {"text": "(B, 77) tokens"}
    describe_run(config, models, bool(config.train.ema_decay), ("clip",), sizes, {"clip": forward})


if __name__ == "__main__":
    run_script(main)
