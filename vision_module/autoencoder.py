"""The KL autoencoder between images and scaled latents: a stock diffusers `AutoencoderKL`.

`images` are (B, 1, S, S) in [-1, 1]. `latents` are (B, C, H, W), centered and scaled to unit deviation; the
one owner of the scale is the model's own `config.scaling_factor`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL

from runtime.runs import model_source
from runtime.weights import load_pretrained
from vision_module.config import AutoencoderConfig


def build_autoencoder(config: AutoencoderConfig, image_size: int) -> AutoencoderKL:
    """A new one-channel `AutoencoderKL`, or the one that `init_from` names, for films of `image_size`.

    Raises:
        ValueError: a size that the levels cannot halve, nothing to fine-tune there, or `decoder_only` without
            anything to fine-tune.
    """
    if config.decoder_only and not config.init_from:
        raise ValueError("--decoder-only trains on the latents of a given encoder: pass --init-from")
    if config.init_from:
        source = model_source(config.init_from, "autoencoder", "--init-from")
        autoencoder = load_pretrained(AutoencoderKL, source)
        _check_size(image_size, len(autoencoder.config["block_out_channels"]))
        if config.decoder_only:
            autoencoder.encoder.requires_grad_(False)
            if autoencoder.quant_conv is not None:
                autoencoder.quant_conv.requires_grad_(False)
        # What encodes by the model's own size would else use the size of its first training.
        autoencoder.register_to_config(sample_size=image_size)
        return autoencoder
    _check_size(image_size, len(config.block_out_channels))
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        sample_size=image_size,
        latent_channels=config.latent_channels,
        **list_levels(config.block_out_channels),
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups or min(32, config.block_out_channels[0] // 4),
        mid_block_add_attention=config.mid_block_attention,
    )


def list_levels(channels: Sequence[int]) -> dict[str, Any]:
    """Settings of an `AutoencoderKL` of these channels, whose annotations know one level alone."""
    return {
        "block_out_channels": tuple(channels),
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
    }


def _check_size(image_size: int, num_levels: int) -> None:
    downsampling = 2 ** (num_levels - 1)
    if image_size % downsampling:
        raise ValueError(f"--image-size {image_size} is not a multiple of {downsampling}")


def _films_at_once(side: int) -> int:
    """Films of a side whose activations fit a few GB: 64 at 128x128, 4 at 512x512."""
    return max(1, 2**20 // side**2)


def match_channels(images: torch.Tensor, num_channels: int) -> torch.Tensor:
    """Gray images (B, 1, S, S) for an encoder of 1 or 3 channels."""
    return images.expand(-1, num_channels, -1, -1)


@torch.no_grad()
def encode_films(autoencoder: AutoencoderKL, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, 1, S, S) in [-1, 1] -> mean and deviation of the scaled latents, (B, C, H, W) each."""
    images = match_channels(images, autoencoder.config["in_channels"])
    parts = images.split(_films_at_once(images.shape[-1]))
    posteriors = [autoencoder.encode(part, return_dict=False)[0] for part in parts]
    scale = autoencoder.config["scaling_factor"]
    mean, std = (torch.cat([getattr(part, name) for part in posteriors]) for name in ("mean", "std"))
    return mean * scale, std * scale


def decode(autoencoder: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Unscaled latents (B, C, H, W) -> images of the autoencoder's channels, with gradients."""
    # diffusers annotates FloatTensor, which torch's own operations never give.
    return autoencoder.decode(latents, return_dict=False)[0]  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def decode_latents(autoencoder: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Scaled latents (B, C, H, W) -> gray images (B, 1, S, S) in [-1, 1]."""
    side = latents.shape[-1] * 2 ** (len(autoencoder.config["block_out_channels"]) - 1)
    parts = (latents / autoencoder.config["scaling_factor"]).split(_films_at_once(side))
    images = torch.cat([decode(autoencoder, part) for part in parts])
    return images.mean(dim=1, keepdim=True).clamp(-1.0, 1.0)


@torch.no_grad()
def standardize_latents(autoencoder: AutoencoderKL, images: torch.Tensor) -> None:
    """Center the latents of these images at zero and store 1 / deviation as the scaling factor.

    The center is folded into the two 1x1 convolutions around the latents, so the autoencoder's function is
    unchanged and plain diffusers pipelines, which know a scale but no shift, use it as it is.

    Args:
        images: (N, 1, S, S) training images in [-1, 1].
    """
    means = encode_films(autoencoder, images)[0] / autoencoder.config["scaling_factor"]
    center = means.mean(dim=(0, 2, 3))
    channels = autoencoder.config["latent_channels"]
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    if before is None or before.bias is None or after is None or after.bias is None:
        raise ValueError("the autoencoder has no 1x1 convolutions around its latents, which take their mean")
    after.bias += after.weight[:, :, 0, 0] @ center
    before.bias[:channels] -= center
    deviation = (means - center[None, :, None, None]).std()
    autoencoder.register_to_config(scaling_factor=round(1.0 / deviation.item(), 5))
