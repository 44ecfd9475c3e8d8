"""Stable Diffusion's U-Net: a trained one, or a new one of any size."""

import math
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from runtime.files import read_json, reading
from runtime.weights import drop_unused, load_pretrained
from vision_module.config import UNetConfig

# Stable Diffusion 1.x (its published unet/config.json), for --dry-run and measurements without its weights.
SD1_UNET = {
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}


def load_unet(source: str, in_channels: int, sample_size: int, context_dim: int) -> UNet2DConditionModel:
    """The U-Net of a pipeline folder or hub name.

    Raises:
        ValueError: it takes other latents or another width of text, or draws in few steps.
    """
    unet = load_pretrained(UNet2DConditionModel, source, subfolder="unet")
    if unet.config["time_cond_proj_dim"]:
        raise ValueError(f"--init-from {source} is distilled for few steps: name the model it was made of")
    if unet.config["cross_attention_dim"] != context_dim:
        raise ValueError(
            f"--init-from {source}: its U-Net takes text of width {unet.config['cross_attention_dim']}, "
            f"--clip gives {context_dim}"
        )
    if unet.config["in_channels"] != in_channels:
        raise ValueError(
            f"--init-from {source}: its U-Net takes latents of {unet.config['in_channels']} channels, "
            f"--autoencoder gives {in_channels}"
        )
    unet.register_to_config(sample_size=sample_size)
    return unet


def build_unet(
    config: UNetConfig, in_channels: int, sample_size: int, context_dim: int
) -> UNet2DConditionModel:
    """A new U-Net for these latents and this width of text.

    Raises:
        ValueError: a config file that is not a U-Net's.
    """
    fixed: dict[str, Any] = {
        "sample_size": sample_size,
        "in_channels": in_channels,
        "out_channels": in_channels,
        "cross_attention_dim": context_dim,
    }
    if config.unet_config:
        with reading(config.unet_config, "--unet-config"):
            return drop_unused(
                UNet2DConditionModel.from_config({**_read_config(config.unet_config), **fixed})
            )
    channels = config.block_out_channels
    levels = len(channels) - 1
    return UNet2DConditionModel(
        **fixed,
        block_out_channels=channels,
        layers_per_block=config.layers_per_block,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels + ("UpBlock2D",),
        # diffusers' name is wrong: this is the number of heads.
        attention_head_dim=config.num_heads,
        norm_num_groups=math.gcd(32, *channels),
    )


def _read_config(path: Path) -> dict:
    try:
        values = read_json(path)
    except ValueError as error:
        raise ValueError(f"--unet-config {error}") from None
    if values.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise ValueError(f"--unet-config {path} is of a {values['_class_name']}, not a UNet2DConditionModel")
    return values
