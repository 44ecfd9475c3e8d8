#!/usr/bin/env python
"""Train the KL autoencoder between films and latents (a stock diffusers AutoencoderKL)."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from data_module.film_store import FilmStore
from data_module.images import to_images
from data_module.pairs import PairsFolder
from training import RunFolder, TrainConfig, describe_run, fit, parse_config, run_script
from vision_module.autoencoder import (
    AutoencoderConfig,
    AutoencoderLoss,
    build_autoencoder,
    standardise_latents,
)


@dataclass(frozen=True)
class Config:
    data: Path = Path("runs/demo/data")
    """Pairs folder; its train split is trained on."""
    out: Path = Path("runs/demo/autoencoder")
    """Run folder."""
    image_size: int = 64
    """Side of the films in pixels."""
    kl_weight: float = 1e-3
    """Weight of the KL term, per image pixel."""
    edge_weight: float = 0.5
    """Weight of the L1 of neighbouring pixels' differences."""
    model: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = False
    """Delete a run that is in --out and start anew."""
    dry_run: bool = False
    """Print the resolved config, sizes and memory, and stop."""


PRESETS = {
    "demo": Config(
        train=TrainConfig(
            num_steps=1300,
            batch_size=8,
            learning_rate=2e-3,
            ema_decay=0.995,
            validate_every=0,
            num_validation_batches=60,
        ),
    ),
    # CXR-IRGen fine-tunes Stable Diffusion 1.4 at 256x256; its autoencoder is fine-tuned here.
    "paper": Config(
        image_size=256,
        model=AutoencoderConfig(init_from="stabilityai/sd-vae-ft-mse"),
        train=TrainConfig(num_steps=20_000, batch_size=16, learning_rate=1e-5, ema_decay=0.999),
    ),
}


class Films:
    """Whole films as images (B, 1, S, S) in [-1, 1], shifted a little: a film is not cropped to the pixel."""

    def __init__(self, pairs: PairsFolder, image_size: int, max_shift: int) -> None:
        self.store = FilmStore(pairs.image_paths, image_size)
        self.max_shift = max_shift

    def __len__(self) -> int:
        return len(self.store)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        images = to_images(self.store[indices])
        if self.max_shift:
            low, high = -self.max_shift, self.max_shift + 1
            shifts = torch.randint(low, high, (2,), generator=generator).tolist()
            padded = torch.nn.functional.pad(images, (self.max_shift,) * 4, mode="replicate")
            top, left = (self.max_shift + shift for shift in shifts)
            side = images.shape[-1]
            images = padded[..., top : top + side, left : left + side]
        return {"images": images}


def objective(model, batch, generator):
    return model(batch["images"], generator)


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        latent = config.image_size // (8 if config.model.init_from else config.model.downsampling)
        models = {}
        if not config.model.init_from:
            models["autoencoder"] = lambda: build_autoencoder(config.model, config.image_size)
        sizes = {"images": f"(B, 1, {config.image_size}, {config.image_size})"}
        sizes["latents"] = f"(B, {config.model.latent_channels}, {latent}, {latent})"
        describe_run(config, models, config.train, ("autoencoder",), sizes)
        return
    pairs = PairsFolder.open(config.data)
    run = RunFolder.create(config.out, "autoencoder", config, config.overwrite)
    torch.manual_seed(config.train.seed)
    model = AutoencoderLoss(
        build_autoencoder(config.model, config.image_size), config.kl_weight, config.edge_weight
    )
    train_films = Films(pairs.split("train"), config.image_size, max_shift=config.image_size // 16)
    validation_films = Films(pairs.split("validation"), config.image_size, max_shift=0)

    def save(model: AutoencoderLoss, folder: Path) -> None:
        autoencoder = model.autoencoder
        if not config.model.init_from:
            sample = np.arange(0, len(train_films), max(1, len(train_films) // 512))
            images = to_images(train_films.store[sample]).to(autoencoder.device)
            standardise_latents(autoencoder, images)
        autoencoder.save_pretrained(folder)

    fit(model, objective, train_films, validation_films, config.train, run, save)


if __name__ == "__main__":
    run_script(main)
