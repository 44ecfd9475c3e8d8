#!/usr/bin/env python
"""Train the U-ViT that draws films from text and a reference film (CXR-IRGen's second backbone)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from training import describe_run, parse_config, run_script
from vision_module.denoiser_run import DEMO_TRAIN, PAPER_TRAIN, DenoiserConfig, train_denoiser
from vision_module.diffusion import DiffusionConfig
from vision_module.prompting import num_context_tokens
from vision_module.uvit import UVIT_SIZES, UViT


@dataclass(frozen=True)
class UViTConfig:
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
    out: Path = Path("runs/demo/uvit")
    """Run folder."""
    model: UViTConfig = field(default_factory=UViTConfig)


PRESETS = {
    "demo": Config(train=DEMO_TRAIN),
    # CXR-IRGen (WACV 2024), sec. 4.1: U-ViT-L/2 on 256x256 PA films.
    "paper": Config(
        autoencoder="stabilityai/sd-vae-ft-mse",
        clip="openai/clip-vit-large-patch14",
        reference_encoder="openai/clip-vit-base-patch32",
        image_size=256,
        texts=("prompt",),
        diffusion=DiffusionConfig(prediction_type="epsilon", drop_prompt=0.0, drop_reference=0.0),
        model=UViTConfig(size="L"),
        train=PAPER_TRAIN,
    ),
}


def build(
    config: UViTConfig, in_channels: int, sample_size: int, context_dim: int, num_tokens: int
) -> nn.Module:
    """A new U-ViT for these latents and this context."""
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
        demo = config.image_size == 64
        side, width = (config.image_size // 4, 128) if demo else (config.image_size // 8, 768)
        tokens = num_context_tokens(config.diffusion.fusion, config.diffusion.text_tokens)
        models = {"denoiser": lambda: build(config.model, 4, side, width, tokens)}
        sizes = {"latents": f"(B, 4, {side}, {side})", "context": f"(B, {tokens}, {width})"}
        describe_run(config, models, config.train, ("denoiser",), sizes)
        return
    train_denoiser(config, "clipUViT", lambda *shape: build(config.model, *shape))


if __name__ == "__main__":
    run_script(main)
