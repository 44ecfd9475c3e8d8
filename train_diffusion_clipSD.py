#!/usr/bin/env python
"""Train the Stable Diffusion U-Net that draws films from text and a reference film.

The model folder is a stock StableDiffusionPipeline folder with the reference encoder in image_encoder/.
"""

from dataclasses import dataclass, field
from pathlib import Path

from diffusers import UNet2DConditionModel
from torch import nn

from training import describe_run, parse_config, run_script
from vision_module.denoiser_run import DEMO_TRAIN, PAPER_TRAIN, DenoiserConfig, train_denoiser
from vision_module.diffusion import DiffusionConfig
from vision_module.prompting import num_context_tokens


@dataclass(frozen=True)
class UNetConfig:
    init_from: str = ""
    """Stable Diffusion folder or hub name whose U-Net is fine-tuned; empty trains from scratch."""
    block_out_channels: tuple[int, ...] = (64, 128)
    """Channels of each level; every level but the last halves the size."""
    layers_per_block: int = 1
    """Residual blocks a level."""
    attention_head_dim: int = 32
    """Width of an attention head (stock U-Nets of SD 1.x: number of heads)."""


@dataclass(frozen=True)
class Config(DenoiserConfig):
    out: Path = Path("runs/demo/sd")
    """Run folder."""
    diffusion: DiffusionConfig = field(
        default_factory=lambda: DiffusionConfig(fusion="concat", text_tokens="all")
    )
    model: UNetConfig = field(default_factory=UNetConfig)


PRESETS = {
    "demo": Config(train=DEMO_TRAIN),
    # CXR-IRGen (WACV 2024), sec. 4.1: SD 1.4 on 256x256 films, reference appended as one more token,
    # AdamW 5e-5, batch 32, 10 epochs; no condition is ever dropped.
    "paper": Config(
        autoencoder="stabilityai/sd-vae-ft-mse",
        clip="openai/clip-vit-large-patch14",
        reference_encoder="openai/clip-vit-base-patch32",
        image_size=256,
        texts=("prompt",),
        diffusion=DiffusionConfig(
            prediction_type="epsilon", fusion="concat", text_tokens="all", drop_prompt=0.0, drop_reference=0.0
        ),
        model=UNetConfig(init_from="CompVis/stable-diffusion-v1-4"),
        train=PAPER_TRAIN,
    ),
}
# Stable Diffusion 1.x, for --dry-run without its weights (its published unet/config.json).
SD1_UNET = {
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}


def build(
    config: UNetConfig, in_channels: int, sample_size: int, context_dim: int, num_tokens: int
) -> nn.Module:
    """A new U-Net for these latents and this context, or the one of `init_from`."""
    del num_tokens  # cross-attention takes any number
    if config.init_from:
        unet = UNet2DConditionModel.from_pretrained(config.init_from, subfolder="unet")
        if unet.config.cross_attention_dim != context_dim:
            raise ValueError(
                f"--init-from {config.init_from}: its U-Net takes text of width "
                f"{unet.config.cross_attention_dim}, --clip gives {context_dim}"
            )
        unet.register_to_config(sample_size=sample_size)
        return unet
    channels = config.block_out_channels
    down = ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (len(channels) - 1)
    up = ("CrossAttnUpBlock2D",) * (len(channels) - 1) + ("UpBlock2D",)
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=in_channels,
        block_out_channels=channels,
        layers_per_block=config.layers_per_block,
        down_block_types=down,
        up_block_types=up,
        cross_attention_dim=context_dim,
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=min(32, channels[0] // 2),
    )


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        tokens = num_context_tokens(config.diffusion.fusion, config.diffusion.text_tokens)
        side, width = config.image_size // 4, 128
        models = {"denoiser": lambda: build(config.model, 4, side, width, tokens)}
        if config.model.init_from:
            side, width = config.image_size // 8, 768
            models = {"denoiser": lambda: UNet2DConditionModel(sample_size=side, **SD1_UNET)}
        sizes = {"latents": f"(B, 4, {side}, {side})", "context": f"(B, {tokens}, {width})"}
        describe_run(config, models, config.train, ("denoiser",), sizes)
        return
    train_denoiser(config, "clipSD", lambda *shape: build(config.model, *shape))


if __name__ == "__main__":
    run_script(main)
