#!/usr/bin/env python
"""Train the domain CLIP on films and their texts (a stock transformers CLIPModel with its tokenizer)."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from data_module.film_store import FilmStore
from data_module.findings import FINDINGS, POSITIVE, UNCERTAIN
from data_module.images import to_images
from data_module.pairs import PairsFolder
from runtime.cli import parse_config, run_script
from runtime.dry_run import describe_run
from runtime.runs import RunFolder
from training import TrainConfig, fit
from vision_module.clip import (
    ClipConfig,
    ContrastiveLoss,
    build_clip,
    clip_pixels,
    load_tokenizer,
    make_processor,
    train_tokenizer,
)


@dataclass(frozen=True)
class Config:
    data: Path = Path("runs/demo/data")
    """Pairs folder; its train split is trained on."""
    out: Path = Path("runs/demo/clip")
    """Run folder."""
    image_size: int = 64
    """Side of the films that a CLIP trained from scratch takes."""
    texts: tuple[str, ...] = ("prompt", "impression_section", "findings_section")
    """Columns to draw an item's text from, with equal chances among those that are not empty."""
    findings_weight: float = 5.0
    """Weight of reading the findings off the text and film embeddings; 0 is CLIP's loss alone."""
    model: ClipConfig = field(default_factory=ClipConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = False
    """Delete a run that is in --out and start anew."""
    dry_run: bool = False
    """Print the resolved config, sizes and memory, and stop."""


PRESETS = {
    "demo": Config(
        train=TrainConfig(num_steps=350, batch_size=64, learning_rate=1e-3, ema_decay=0.99, validate_every=0),
    ),
    # CXR-IRGen uses OpenAI's ViT-B/32 as it is; this fine-tunes it on the films.
    "paper": Config(
        image_size=224,
        findings_weight=0.0,
        model=ClipConfig(init_from="openai/clip-vit-base-patch32"),
        train=TrainConfig(num_steps=20_000, batch_size=128, learning_rate=1e-5, weight_decay=0.1),
    ),
}


class FilmTexts:
    """A film as pixel_values and one of its texts as tokens."""

    def __init__(self, pairs: PairsFolder, columns: tuple[str, ...], tokenizer, processor) -> None:
        self.store = FilmStore(pairs.image_paths, processor.crop_size["height"])
        self.processor = processor
        texts = pairs.text_columns(columns)
        self.present = torch.as_tensor(texts != "", dtype=torch.float32)
        tokens = [
            tokenizer(
                list(column),
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            for column in texts.T
        ]
        # Present 1, uncertain 1/2, absent or not mentioned 0.
        labels = pairs.labels
        self.findings = torch.as_tensor((labels == POSITIVE) + 0.5 * (labels == UNCERTAIN)).float()
        self.input_ids = torch.stack([t.input_ids for t in tokens], dim=1)
        self.attention_mask = torch.stack([t.attention_mask for t in tokens], dim=1)

    def __len__(self) -> int:
        return len(self.store)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        rows = torch.as_tensor(indices)
        choice = torch.multinomial(self.present[rows], 1, generator=generator).squeeze(1)
        input_ids, attention_mask = self.input_ids[rows, choice], self.attention_mask[rows, choice]
        # The text encoder is causal and pools at the end of the text, so padding past the longest is waste.
        length = int(attention_mask.sum(dim=1).max())
        return {
            "pixel_values": clip_pixels(to_images(self.store[indices]), self.processor),
            "input_ids": input_ids[:, :length],
            "attention_mask": attention_mask[:, :length],
            "findings": self.findings[rows],
        }


def objective(model, batch, generator):
    return model(**batch)


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        models = {}
        if not config.model.init_from:
            models["clip"] = lambda: build_clip(config.model, None, config.image_size)
        describe_run(config, models, bool(config.train.ema_decay), ("clip",), {"text": "(B, 77) tokens"})
        return
    pairs = PairsFolder.open(config.data)
    train_rows = pairs.split("train")
    run = RunFolder.create(config.out, "clip", config, config.overwrite)
    if config.model.init_from:
        tokenizer = load_tokenizer(config.model.init_from)
    else:
        corpus = [text for name in config.texts for text in train_rows.table[name].fillna("")]
        tokenizer = train_tokenizer(corpus, config.model.vocab_size)
    torch.manual_seed(config.train.seed)
    clip = build_clip(config.model, tokenizer, config.image_size)
    processor = make_processor(clip, config.model.init_from)
    train_data, validation_data = (
        FilmTexts(rows, config.texts, tokenizer, processor)
        for rows in (train_rows, pairs.split("validation"))
    )

    def save(model: ContrastiveLoss, folder: Path) -> None:
        model.clip.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        processor.save_pretrained(folder)

    model = ContrastiveLoss(clip, len(FINDINGS), config.findings_weight)
    fit(model, objective, train_data, validation_data, config.train, run, save)


if __name__ == "__main__":
    run_script(main)
