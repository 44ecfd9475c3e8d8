"""MONAI's AutoencoderKL and DiffusionModelUNet as diffusers' models, with the same outputs.

Names are those of MONAI GenerativeModels, which the model zoo's chest X-ray bundle was saved with, and of
MONAI core 1.4 or later. Attention levels with cross-attention are mapped in the U-Net; autoencoders
have none (nor has the bundle's).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from runtime.weights import Weights, load_exactly, take
from runtime.wording import shorten
from vision_module.autoencoder import list_levels

# MONAI puts nothing between the last norm and the last convolution, diffusers a SiLU. For small x,
# silu(x) = x/2 (1 + x/2 + ...): scaled down by 2^-20 before and up after, it is the identity to float32's
# precision, in bfloat16 too (not in float16). Powers of two round nothing.
_LINEAR = 2.0**-20

_LATENT_CONVS = ("quant_conv_mu.conv", "quant_conv_log_sigma.conv", "post_quant_conv.conv")
_UNET_NAMES = (
    (r"^conv_in\.conv\.", "conv_in."),
    (r"^time_embed\.0\.", "time_embedding.linear_1."),
    (r"^time_embed\.2\.", "time_embedding.linear_2."),
    (r"^middle_block\.resnet_1\.", "mid_block.resnets.0."),
    (r"^middle_block\.attention\.", "mid_block.attentions.0."),
    (r"^middle_block\.resnet_2\.", "mid_block.resnets.1."),
    (r"^out\.0\.", "conv_norm_out."),
    (r"^out\.2\.conv\.", "conv_out."),
    (r"\.downsampler\.op\.conv\.", ".downsamplers.0.conv."),
    (r"\.upsampler\.(conv|postconv)\.conv\.", ".upsamplers.0.conv."),
    (r"\.skip_connection\.conv\.", ".conv_shortcut."),
    (r"\.(conv1|conv2|proj_in|proj_out)\.conv\.", r".\1."),
    (r"\.ff\.linear1\.", ".ff.net.0.proj."),
    (r"\.ff\.linear2\.", ".ff.net.2."),
    (r"\.(attn1|attn2)\.out_proj\.", r".\1.to_out.0."),
)


@dataclass(frozen=True)
class MonaiConfig:
    """What the weights do not say; the defaults are those of the model zoo's chest X-ray bundle.

    `num_head_channels` is the width of an attention head at each level; empty means one head.
    """

    autoencoder_groups: int = 32
    unet_groups: int = 32
    num_head_channels: tuple[int, ...] = ()

    @classmethod
    def from_bundle(cls, inference: dict) -> "MonaiConfig":
        """From the content of a bundle's configs/inference.json."""
        unet = inference.get("diffusion_def", {})
        heads = unet.get("num_head_channels", ())
        return cls(
            inference.get("autoencoder_def", {}).get("norm_num_groups", 32),
            unet.get("norm_num_groups", 32),
            tuple(heads) if isinstance(heads, list | tuple) else (heads,) * len(unet["channels"]),
        )


def convert_unet(weights: Weights, path: Path, config: MonaiConfig, sample_size: int) -> UNet2DConditionModel:
    """A DiffusionModelUNet with cross-attention, as a `UNet2DConditionModel`.

    Raises:
        ValueError: the weights are not of such a model.
    """
    expected = "a MONAI DiffusionModelUNet with cross-attention"
    renamed = {_rename(name): value for name, value in weights.items()}
    levels = _count(renamed, r"down_blocks\.(\d+)\.")
    if not levels or "conv_in.weight" not in renamed:
        raise ValueError(f"{path}: expected {expected}, found {shorten(sorted(weights))}")
    channels = [renamed[f"down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(levels)]
    attends = [f"down_blocks.{i}.attentions.0.norm.weight" in renamed for i in range(levels)]
    keys = [value for name, value in renamed.items() if name.endswith("attn2.to_k.weight")]
    if not keys:
        raise ValueError(f"{path}: expected {expected}, found one without attn2")
    widths = config.num_head_channels or (0,) * levels
    if len(widths) != levels:
        raise ValueError(
            f"{path}: {levels} levels, but {len(widths)} num_head_channels in the bundle's config"
        )
    heads = [size // width if width else 1 for size, width in zip(channels, widths, strict=True)]
    blocks = [("CrossAttn" if attend else "") for attend in attends]
    model = UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=renamed["conv_in.weight"].shape[1],
        out_channels=renamed["conv_out.weight"].shape[0],
        block_out_channels=tuple(channels),
        layers_per_block=_count(renamed, r"down_blocks\.0\.resnets\.(\d+)\."),
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in blocks),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(blocks)),
        cross_attention_dim=keys[0].shape[1],
        transformer_layers_per_block=_count(
            renamed, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\."
        ),
        # diffusers' name for the number of heads; it annotates one alone.
        attention_head_dim=heads,  # pyright: ignore[reportArgumentType]
        norm_num_groups=config.unet_groups,
        norm_eps=1e-6,
    )
    load_exactly(model, renamed, path, expected)
    return model.eval()


def _rename(name: str) -> str:
    for pattern, new in _UNET_NAMES:
        name = re.sub(pattern, new, name)
    return name


def _count(weights: Weights, pattern: str) -> int:
    """1 + the largest number that the pattern's group finds; 0 where it finds none."""
    return max((int(found[1]) + 1 for name in weights if (found := re.match(pattern, name))), default=0)


def convert_autoencoder(
    weights: Weights, path: Path, config: MonaiConfig, scaling_factor: float, unit_range: bool = True
) -> AutoencoderKL:
    """An AutoencoderKL of MONAI without attention, as diffusers' `AutoencoderKL`.

    diffusers' model has residual blocks that MONAI's has not (two in each middle, one more a level in the
    decoder): their second convolution is zero, so they pass their input on. MONAI reads mean and log-variance
    off the encoder's output by a 1x1 convolution each: the two are `quant_conv`.

    Args:
        scaling_factor: factor on the latents that the U-Net was trained with.
        unit_range: MONAI's films are in [0, 1]: fold the change from and to [-1, 1] into the first and the
            last convolution. Exact for the decoder. In the encoder the zero padding around a film then
            stands for mid-gray in the place of black, which the latents at its border see.

    Raises:
        ValueError: the weights are not of such a model.
    """
    expected = "a MONAI AutoencoderKL without attention"
    lacking = [f"{name}.weight" for name in _LATENT_CONVS if f"{name}.weight" not in weights]
    if lacking:
        raise ValueError(f"{path}: expected {expected}, found no {shorten(lacking)}; {len(weights)} tensors")
    named = _name_blocks(weights, "encoder", "down_blocks", "downsamplers", path)
    named |= _name_blocks(weights, "decoder", "up_blocks", "upsamplers", path)
    levels = _count(named, r"encoder\.down_blocks\.(\d+)\.")
    model = AutoencoderKL(
        in_channels=named["encoder.conv_in.weight"].shape[1],
        out_channels=named["decoder.conv_out.weight"].shape[0],
        latent_channels=named["decoder.conv_in.weight"].shape[1],
        **list_levels(
            [named[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)]
        ),
        layers_per_block=_count(named, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        norm_num_groups=config.autoencoder_groups,
        mid_block_add_attention=False,
        scaling_factor=scaling_factor,
    )
    for part in ("weight", "bias"):
        mean, log_variance, post = (weights[f"{name}.{part}"] for name in _LATENT_CONVS)
        named[f"post_quant_conv.{part}"] = post
        named[f"quant_conv.{part}"] = torch.cat([mean, log_variance])
        output = named[f"encoder.conv_out.{part}"]
        named[f"encoder.conv_out.{part}"] = torch.cat([output, torch.zeros_like(output)])
    read = named["quant_conv.weight"]
    named["quant_conv.weight"] = torch.cat([read, torch.zeros_like(read)], dim=1)
    for half in ("encoder", "decoder"):
        for part in ("weight", "bias"):
            named[f"{half}.conv_norm_out.{part}"] = named[f"{half}.conv_norm_out.{part}"] * _LINEAR
        named[f"{half}.conv_out.weight"] = named[f"{half}.conv_out.weight"] * (2.0 / _LINEAR)
    if unit_range:
        _fold_unit_range(named)
    # What is neither a block nor one of the latents' convolutions is named as unexpected.
    known = ("encoder.blocks.", "decoder.blocks.", *_LATENT_CONVS)
    named |= {name: value for name, value in weights.items() if not name.startswith(known)}
    load_exactly(model, {**_passing_blocks(model), **named}, path, expected)
    return model.eval()


def _name_blocks(weights: Weights, half: str, levels: str, resizers: str, path: Path) -> Weights:
    """diffusers' names for MONAI's list of blocks: conv, levels of residual blocks with a change of size
    after each but the last, norm, conv."""
    blocks: dict[int, Weights] = {}
    for name, value in take(weights, f"{half}.blocks.").items():
        number, _, rest = name.partition(".")
        blocks.setdefault(int(number), {})[rest] = value
    named: Weights = {}
    level = resnet = 0
    for place, number in enumerate(sorted(blocks)):
        block = blocks[number]
        if place in (0, len(blocks) - 1):
            target = "conv_out" if place else "conv_in"
        elif "weight" in block:
            target = "conv_norm_out"
        elif "norm1.weight" in block:
            target, resnet = f"{levels}.{level}.resnets.{resnet}", resnet + 1
        elif "conv.conv.weight" in block or "postconv.conv.weight" in block:
            target, level, resnet = f"{levels}.{level}.{resizers}.0.conv", level + 1, 0
        else:
            raise ValueError(
                f"{path}: {half}.blocks.{number} holds {shorten(sorted(block))}: expected a residual block, "
                "a norm or a convolution; attention in the autoencoder is not mapped"
            )
        for name, value in block.items():
            name = re.sub(r"^(post)?conv\.(conv\.)?", "", name)
            name = re.sub(
                r"^(conv[12])\.conv\.", r"\1.", name.replace("nin_shortcut.conv.", "conv_shortcut.")
            )
            named[f"{half}.{target}.{name}"] = value
    return named


def _passing_blocks(model: AutoencoderKL) -> Weights:
    """Weights with which the residual blocks that MONAI has not give back their input: all zero but norms."""
    last = model.config["layers_per_block"]
    idle = re.compile(rf"(encoder|decoder)\.mid_block\.|decoder\.up_blocks\.\d+\.resnets\.{last}\.")
    return {
        name: torch.ones_like(value)
        if name.endswith(("norm1.weight", "norm2.weight"))
        else torch.zeros_like(value)
        for name, value in model.state_dict().items()
        if idle.match(name)
    }


def _fold_unit_range(named: Weights) -> None:
    """Encode from and decode to [-1, 1] with weights of a model of [0, 1]."""
    inner = named["encoder.conv_in.weight"] / 2
    named["encoder.conv_in.weight"] = inner
    named["encoder.conv_in.bias"] = named["encoder.conv_in.bias"] + inner.sum(dim=(1, 2, 3))
    named["decoder.conv_out.weight"] = named["decoder.conv_out.weight"] * 2
    named["decoder.conv_out.bias"] = named["decoder.conv_out.bias"] * 2 - 1
