#!/usr/bin/env python
"""Train the text-to-latent baseline: a prompt's pooled embedding -> a film's latents, by one MLP.

    python train_text_to_latent.py --data runs/demo/data --autoencoder runs/demo/autoencoder \
        --clip runs/demo/clip --out runs/demo/text_to_latent

Text-to-X-ray's first generator: a baseline to compare with, and a start for sample_pairs.py --init-from.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig, with_epochs
from training.dry_run import describe_run
from vision_module.config import NUM_TOKENS

if TYPE_CHECKING:
    from prior_model.text_to_latent import TextToLatent


@dataclass(frozen=True)
class MlpSize:
    """Sizes of the MLP; the widths of text and latents are those of the encoders."""

    hidden_dim: int = 512
    """Width of the hidden layers."""
    num_hidden_layers: int = 2
    """Hidden layers."""
    dropout: float = 0.3
    """Dropout after each hidden layer."""
    bounded: bool = False
    """End in a tanh, as Text-to-X-ray does: latents beyond 1 are then out of reach."""


@dataclass(frozen=True)
class Config:
    """Text-to-latent training."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; split train is learned, split validation watched."""
    autoencoder: str = "runs/demo/autoencoder"
    """Run of train_autoencoder.py, or folder or hub name of an AutoencoderKL."""
    clip: str = "runs/demo/clip"
    """Text encoder, as train_diffusion_clipSD.py takes it: run, folder or hub name."""
    out: Path = setting(Path("runs/demo/text_to_latent"), identity=False)
    """Run folder."""
    cache: Path | None = setting(None, identity=False)
    """Where latents and texts are kept, encoded once for each model and data; None: cache/ beside --out."""
    num_tokens: int = NUM_TOKENS
    """Tokens that the text encoder reads."""
    texts: tuple[str, ...] = ("prompt", "impression_section")
    """Columns to draw an item's text from, with equal chances among those that are not empty."""
    image_size: int = 64
    """Side of the films in pixels."""
    num_epochs: float = 0.0
    """Passes over the train split; above 0 it sets the number of steps."""
    dry_run_latents: tuple[int, int, int] = setting((4, 16, 16), identity=False)
    """Latents (C, H, W) that --dry-run assumes; a run takes them from its autoencoder."""
    dry_run_width: int = setting(128, identity=False)
    """Width of the text that --dry-run assumes; a run takes it from its text encoder."""
    overwrite: bool = setting(False, identity=False)
    """Delete a run that is in --out and start anew."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""
    size: MlpSize = field(default_factory=MlpSize)
    train: TrainConfig = field(default_factory=TrainConfig)


PRESETS = {
    "demo": Config(train=TrainConfig(num_steps=500, ema_decay=0.99, weight_decay=0.05)),
    # Text-to-X-ray: reports through ClinicalBERT, 3 layers of 1024, dropout 0.3, tanh; Adam 1e-4, batch 64.
    "paper": Config(
        data=Path("data/mimic-cxr"),
        autoencoder="runs/text-to-xray/autoencoder",
        clip="emilyalsentzer/Bio_ClinicalBERT",
        out=Path("runs/text-to-xray/text_to_latent"),
        texts=("report",),
        num_tokens=256,
        image_size=256,
        num_epochs=50.0,
        dry_run_latents=(4, 32, 32),
        dry_run_width=768,
        size=MlpSize(hidden_dim=1024, num_hidden_layers=3, dropout=0.3, bounded=True),
        train=TrainConfig(
            learning_rate=1e-4,
            weight_decay=0.0,
            betas=(0.9, 0.999),
            warmup_steps=0,
            schedule="constant",
        ),
    ),
}


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        _describe(config)
    else:
        train(config)


def train(config: Config) -> None:
    import torch

    from data_module.pairs import PairsFolder
    from data_module.sections import warn_of_blanks
    from data_module.text_columns import text_columns
    from prior_model.text_to_latent import TextLatentSource, text_to_latent_losses
    from runtime.processes import is_main
    from runtime.runs import RunFolder, model_source
    from training.loop import fit
    from vision_module.denoiser_config import ENCODER_RUNS
    from vision_module.encoding import encode_latents, encode_prompts
    from vision_module.pipeline import load_prompts

    pairs = PairsFolder.open(config.data)
    autoencoder_dir = model_source(config.autoencoder, "autoencoder", "--autoencoder")
    clip_dir = model_source(config.clip, ENCODER_RUNS, "--clip")

    prompts = load_prompts(clip_dir, clip_dir, "text", "pooled", config.num_tokens)
    run = RunFolder.create(config.out, "text_to_latent", config, config.overwrite)
    fields = text_columns(pairs, config.texts)
    if is_main():
        learned = fields[pairs.split_rows("train")]
        warn_of_blanks(learned[learned != ""].tolist(), "training texts")
    cache = config.cache or config.out.parent / "cache"
    latents = encode_latents(pairs, autoencoder_dir, cache, config.image_size)["latents_mean"]
    encoded = encode_prompts(pairs, prompts, clip_dir, config.texts, fields, cache)
    texts, text_index = encoded.texts, encoded.text_index
    if texts is None or text_index is None:
        raise ValueError("--texts: name a column of text")

    def source_of(split: str) -> TextLatentSource:
        return TextLatentSource(latents, texts[:, 0], text_index, pairs.split_rows(split))

    train_data, validation_data = source_of("train"), source_of("validation")
    torch.manual_seed(config.train.seed)
    model = build(config.size, texts.shape[-1], *latents.shape[1:3])
    model.fit_texts(train_data.all_texts())
    mean = train_data.mean_latents()

    def objective(model, batch, generator):
        return text_to_latent_losses(model(batch["text"]), batch["latents"], mean)

    fit(
        model,
        objective,
        train_data,
        validation_data,
        with_epochs(config.train, config.num_epochs, len(train_data)),
        run,
        save=lambda model, folder: model.save_pretrained(folder),
    )


def build(size: MlpSize, text_dim: int, latent_channels: int, latent_size: int) -> "TextToLatent":
    """An untrained MLP between these widths."""
    from prior_model.text_to_latent import TextToLatent

    return TextToLatent(
        text_dim=text_dim,
        latent_channels=latent_channels,
        latent_size=latent_size,
        **dataclasses.asdict(size),
    )


def _describe(config: Config) -> None:
    import torch

    from data_module.splits import count_train_rows

    channels, size, _ = config.dry_run_latents
    describe_run(
        config,
        {"text_to_latent": lambda: build(config.size, config.dry_run_width, channels, size)},
        bool(config.train.ema_decay),
        trained=("text_to_latent",),
        sizes={"text": f"(B, {config.dry_run_width})", "latents": f"(B, {config.dry_run_latents})"},
        forwards={"text_to_latent": lambda model: model(torch.zeros(1, config.dry_run_width))},
        count_items=lambda: count_train_rows(config.data),
    )


if __name__ == "__main__":
    run_script(main)
