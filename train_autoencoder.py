#!/usr/bin/env python
"""Train the KL autoencoder between films and latents (a stock diffusers AutoencoderKL)."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig
from training.dry_run import describe_run
from vision_module.config import AutoencoderConfig, AutoencoderLossConfig


@dataclass(frozen=True)
class Config:
    data: Path = Path("runs/demo/data")
    """Pairs folder; its train split is trained on."""
    out: Path = setting(Path("runs/demo/autoencoder"), identity=False)
    """Run folder."""
    image_size: int = 64
    """Side of the films in pixels."""
    model: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    loss: AutoencoderLossConfig = field(default_factory=AutoencoderLossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = setting(False, identity=False)
    """Delete a run that is in --out and start anew."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""


DEMO_TRAIN = TrainConfig(
    num_steps=1000,
    batch_size=8,
    learning_rate=2e-3,
    ema_decay=0.995,
    validate_every=0,
    num_validation_batches=60,
)
# What the other systems' demos were measured with (docs/results.md).
OTHERS_TRAIN = replace(DEMO_TRAIN, num_steps=1300)
# Adam at one rate, as both published systems that train their own autoencoder have it.
ADAM_TRAIN = TrainConfig(
    batch_size=16,
    weight_decay=0.0,
    betas=(0.9, 0.999),
    warmup_steps=0,
    schedule="constant",
    validate_every=5000,
    checkpoint_every=1000,
    num_workers=12,
)
PRESETS = {
    "demo": Config(train=DEMO_TRAIN),
    # CXR-IRGen fine-tunes Stable Diffusion 1.4 at 256x256; its autoencoder is fine-tuned here.
    "paper": Config(
        image_size=256,
        model=AutoencoderConfig(init_from="stabilityai/sd-vae-ft-mse"),
        train=TrainConfig(num_steps=20_000, batch_size=16, learning_rate=1e-5, ema_decay=0.999),
    ),
    # MONAI's chest X-ray LDM (Pinaya et al., 2022; its authors' configs/stage1/aekl_v0.yaml): Adam 5e-5, the
    # discriminator's 1e-4, batch 96, the adversary from a twentieth of the run on. Its films are in [0, 1],
    # so their L1 is half of ours, and its KL is a sum over the latents of a film.
    "monai": Config(
        image_size=512,
        model=AutoencoderConfig(
            latent_channels=3,
            block_out_channels=(64, 128, 128, 128),
            layers_per_block=2,
            norm_num_groups=32,
        ),
        loss=AutoencoderLossConfig(
            l1_weight=0.5,
            edge_weight=0.0,
            kl_weight=1e-8 * 512**2,
            perceptual_weight=0.002,
            adversarial_weight=0.005,
            adversarial_from=10_000,
            discriminator_channels=128,
            discriminator_rate=2.0,
        ),
        train=replace(ADAM_TRAIN, num_steps=200_000, gradient_accumulation_steps=6, learning_rate=5e-5),
    ),
    # The same losses at demo scale, where the features are those of the demo's classifier.
    "monai-demo": Config(
        model=AutoencoderConfig(latent_channels=3),
        loss=AutoencoderLossConfig(
            edge_weight=0.0,
            perceptual_weight=0.1,
            perceptual="runs/demo/classifier",
            adversarial_weight=0.02,
            adversarial_from=400,
            discriminator_channels=16,
        ),
        train=OTHERS_TRAIN,
    ),
    # Text-to-X-ray: 256x256, 32/64/128 channels down to 32x32, mean squared error + 1e-4 KL, Adam 1e-4, batch
    # 64. Its films are in [0, 1], so their error is a quarter of ours; its KL is a mean over the latents.
    "text-to-xray": Config(
        image_size=256,
        model=AutoencoderConfig(block_out_channels=(32, 64, 128, 128)),
        loss=AutoencoderLossConfig(
            l1_weight=0.0, mse_weight=0.25, edge_weight=0.0, kl_weight=1e-4 * 256**2 / (4 * 32**2)
        ),
        train=replace(ADAM_TRAIN, num_steps=50_000, gradient_accumulation_steps=4, learning_rate=1e-4),
    ),
    "text-to-xray-demo": Config(
        loss=AutoencoderLossConfig(l1_weight=0.0, mse_weight=1.0, edge_weight=0.0),
        train=OTHERS_TRAIN,
    ),
}


def objective(model, batch, generator):
    return model(batch["images"], generator)


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        _describe(config)
    else:
        config.loss.check(config.image_size)
        train(config)


def train(config: Config) -> None:
    import numpy as np
    import torch

    from data_module.images import to_images
    from data_module.pairs import PairsFolder
    from runtime.runs import RunFolder
    from training.loop import fit
    from vision_module.autoencoder import build_autoencoder, standardize_latents
    from vision_module.autoencoder_data import ShiftedFilms
    from vision_module.autoencoder_loss import AutoencoderLoss

    pairs = PairsFolder.open(config.data)
    torch.manual_seed(config.train.seed)
    # The loss counts forwards, of which an optimizer step takes several where gradients are accumulated.
    adversarial_from = config.loss.adversarial_from * config.train.gradient_accumulation_steps
    model = AutoencoderLoss(build_autoencoder(config.model, config.image_size), config.loss, adversarial_from)
    run = RunFolder.create(config.out, "autoencoder", config, config.overwrite)
    train_films = ShiftedFilms(pairs.split("train"), config.image_size, max_shift=config.image_size // 16)
    validation_films = ShiftedFilms(pairs.split("validation"), config.image_size, max_shift=0)

    def save(model: AutoencoderLoss, folder: Path) -> None:
        autoencoder = model.autoencoder
        if not config.model.init_from:
            sample = np.arange(0, len(train_films), max(1, len(train_films) // 512))
            images = to_images(train_films.store[sample]).to(autoencoder.device)
            standardize_latents(autoencoder, images)
        autoencoder.save_pretrained(folder)

    fit(model, objective, train_films, validation_films, config.train, run, save, model.groups)


def _describe(config: Config) -> None:
    """The dry run: sizes and memory, without reading --init-from or --perceptual."""
    import torch

    from vision_module.adversary import PatchDiscriminator
    from vision_module.autoencoder import build_autoencoder

    latent = config.image_size // (8 if config.model.init_from else config.model.downsampling)
    models, loss = {}, config.loss
    if not config.model.init_from:
        models["autoencoder"] = lambda: build_autoencoder(config.model, config.image_size)
    if loss.adversarial_weight and not loss.discriminator:
        models["discriminator"] = lambda: PatchDiscriminator(
            loss.discriminator_channels, loss.discriminator_layers
        )
    sizes = {"images": f"(B, 1, {config.image_size}, {config.image_size})"}
    sizes["latents"] = f"(B, {config.model.latent_channels}, {latent}, {latent})"
    film = (1, 1, config.image_size, config.image_size)
    forwards = {name: lambda model: model(torch.zeros(film)) for name in models}
    describe_run(config, models, bool(config.train.ema_decay), tuple(models), sizes, forwards)


if __name__ == "__main__":
    run_script(main)
