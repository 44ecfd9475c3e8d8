#!/usr/bin/env python
"""Train the U-ViT that draws films from text and a reference film (CXR-IRGen's second backbone)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.cli import parse_config, run_script
from vision_module.config import DiffusionConfig
from vision_module.denoiser_config import DEMO_TRAIN, PAPER_EPOCHS, PAPER_TRAIN, DenoiserConfig

if TYPE_CHECKING:
    from vision_module.uvit import UViT
from runtime.config import setting


@dataclass(frozen=True)
class UViTConfig:
    init_from: Path | None = None
    """Run of this script to fine-tune, of the same size and prompts; or the authors' weights
    (imagenet256_uvit_large.pth for --size L)."""
    size: Literal["custom", "S", "M", "L", "H"] = "custom"
    """A size of the paper, or custom: the three numbers below."""
    embed_dim: int = 192
    """Width of the tokens."""
    depth: int = 7
    """Blocks, an odd number."""
    num_heads: int = 3
    """Attention heads."""
    patch_size: int = 2
    """Latent cells to a token, on each side."""


@dataclass(frozen=True)
class Config(DenoiserConfig):
    out: Path = setting(Path("runs/demo/uvit"), identity=False)
    """Run folder."""
    model: UViTConfig = field(default_factory=UViTConfig)


PRESETS = {
    # Text, what the labeler reads from it and reference as tokens of their own: of a mean the denoiser cannot
    # tell who says a side, and of a pooled text not of which finding.
    # Straight paths and SD3's noise levels: in 1,200 steps what v-prediction takes 2,000 for (docs/speed.md).
    "demo": Config(
        diffusion=DiffusionConfig(
            prediction_type="flow", time_sampling="logit-normal", fusion="concat", text_tokens="facts"
        ),
        train=DEMO_TRAIN,
    ),
    # CXR-IRGen (WACV 2024), sec. 4.1: U-ViT-L/2 on 256x256 PA films. It starts from the ImageNet weights: add
    # --init-from imagenet256_uvit_large.pth (no hub has them; the authors' page links them).
    "paper": Config(
        autoencoder="stabilityai/sd-vae-ft-mse",
        clip="openai/clip-vit-large-patch14",
        reference_encoder="openai/clip-vit-base-patch32",
        image_size=256,
        texts=("prompt",),
        diffusion=DiffusionConfig(prediction_type="epsilon", drop_prompt=0.0, drop_reference=0.0),
        model=UViTConfig(size="L"),
        num_epochs=PAPER_EPOCHS,
        train=PAPER_TRAIN,
        dry_run_latents=(4, 32, 32),
        dry_run_width=768,
    ),
}


def build(
    config: UViTConfig, in_channels: int, sample_size: int, context_dim: int, num_tokens: int
) -> "UViT":
    """A new U-ViT for these latents and this context."""
    from vision_module.uvit import UVIT_SIZES, UViT

    shape = {"embed_dim": config.embed_dim, "depth": config.depth, "num_heads": config.num_heads}
    if config.size != "custom":
        shape = UVIT_SIZES[config.size]
    return UViT(
        sample_size=sample_size,
        in_channels=in_channels,
        patch_size=config.patch_size,
        context_dim=context_dim,
        num_context_tokens=num_tokens,
        **shape,
    )


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        from vision_module.denoiser_run import describe_denoiser

        describe_denoiser(config, lambda *shape: build(config.model, *shape))
    else:
        train(config)


def train(config: Config) -> None:
    from evaluation.images.validation import make_validation_metrics
    from vision_module.denoiser_run import train_denoiser
    from vision_module.weights.uvit import start_uvit

    def start(*shape: int) -> "UViT":
        model = build(config.model, *shape)
        if config.model.init_from:
            print(start_uvit(model, config.model.init_from))
        return model

    train_denoiser(config, "clipUViT", start, metrics=make_validation_metrics(config.scores.score_classifier))


if __name__ == "__main__":
    run_script(main)
