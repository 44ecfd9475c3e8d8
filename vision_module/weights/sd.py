"""Stable Diffusion's single files and CXR-IRGen's Lightning checkpoints, as the models they hold.

The architecture, the tokenizer and the schedule come from a Stable Diffusion folder (or hub name): the files
hold weights alone.
"""

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedModel

from runtime.files import reading
from runtime.weights import Weights, drop_unused, load_exactly, load_pretrained, take
from runtime.wording import shorten
from vision_module.pipeline import VisionModel
from vision_module.prompting import Prompts
from vision_module.uvit import UVIT_SIZES, UViT

_LDM_UNET, _LDM_VAE, _LDM_TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
# Old diffusers' names of the attention in an autoencoder (until 0.17).
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def read_pipeline(folder: str) -> VisionModel:
    """A Stable Diffusion folder or hub name; it knows text alone."""
    vae = load_pretrained(AutoencoderKL, folder, subfolder="vae")
    unet = load_pretrained(UNet2DConditionModel, folder, subfolder="unet")
    text_encoder = load_pretrained(CLIPTextModel, folder, subfolder="text_encoder")
    with reading(folder, "its tokenizer"):
        tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    return _with_text(vae, unet, text_encoder, tokenizer, folder)


def _new_unet(config: str) -> UNet2DConditionModel:
    settings = drop_unused(UNet2DConditionModel.load_config(config, subfolder="unet"))
    return drop_unused(UNet2DConditionModel.from_config(settings))


def _new_autoencoder(config: str) -> AutoencoderKL:
    settings = drop_unused(AutoencoderKL.load_config(config, subfolder="vae"))
    return drop_unused(AutoencoderKL.from_config(settings))


def convert_single_file(weights: Weights, path: Path, config: str) -> tuple[VisionModel, list[str]]:
    """A Stable Diffusion 1.x or 2.x file in the names of the LDM code.

    Args:
        config: Stable Diffusion folder or hub name of the same architecture.

    Returns:
        The model, and lines that account for every tensor of the file.
    """
    parts = {prefix: len(take(weights, prefix)) for prefix in (_LDM_UNET, _LDM_VAE, _LDM_TEXT)}
    if not all(parts.values()):
        found = ", ".join(f"{count} of {prefix}*" for prefix, count in parts.items())
        raise ValueError(
            f"{path}: expected a Stable Diffusion checkpoint in LDM names; found {found} among "
            f"{len(weights)} tensors such as {shorten(sorted(weights))}"
        )
    unet, vae = _new_unet(config), _new_autoencoder(config)
    text_encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(config, subfolder="text_encoder"))
    lines = [
        load_exactly(unet, convert_ldm_unet_checkpoint(dict(weights), unet.config), path, "SD's U-Net"),
        load_exactly(vae, convert_ldm_vae_checkpoint(dict(weights), vae.config), path, "SD's autoencoder"),
    ]
    if take(weights, f"{_LDM_TEXT}model."):
        text = convert_open_clip_checkpoint(text_encoder, dict(weights), prefix=f"{_LDM_TEXT}model.")
        text.pop("text_projection.weight", None)  # no layer of the context
    else:
        text = convert_ldm_clip_checkpoint(dict(weights))
    lines.append(_load_text(text_encoder, text, path))
    tokenizer = CLIPTokenizer.from_pretrained(config, subfolder="tokenizer")
    left = sorted(name for name in weights if not name.startswith(tuple(parts)))
    lines.append(f"left out: {len(left)} tensors of training ({shorten(left)})" if left else "left out: none")
    return _with_text(vae, unet, text_encoder, tokenizer, config), lines


def convert_cxr_irgen(
    weights: Weights, path: Path, config: str, reference_encoder: tuple[PreTrainedModel, CLIPImageProcessor]
) -> tuple[VisionModel, list[str]]:
    """A Lightning checkpoint of CXR-IRGen's DiffusionModel_t2iSD or DiffusionModel_t2iUViT.

    Args:
        config: the Stable Diffusion folder or hub name it was fine-tuned from (1.4 in the paper).
        reference_encoder: CLIP vision model and its processor; the checkpoint does not hold them.

    Returns:
        The model, and lines that account for every tensor of the file.
    """
    expected = "a CXR-IRGen checkpoint: unet.* or uvit.uvit.* and uvit.text_embed.*, vae.*, text_encoder.*"
    backbone = "uvit." if take(weights, "uvit.uvit.") else "unet."
    prefixes = (backbone, "vae.", "text_encoder.")
    other = sorted(name for name in weights if not name.startswith(prefixes))
    if other or not all(take(weights, prefix) for prefix in prefixes):
        raise ValueError(f"{path}: expected {expected}; found {shorten(other or sorted(weights))}")
    vae = _new_autoencoder(config)
    text_encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(config, subfolder="text_encoder"))
    lines = [
        load_exactly(vae, _rename_attention(take(weights, "vae."), vae), path, "SD's autoencoder"),
        _load_text(text_encoder, take(weights, "text_encoder."), path),
    ]
    if backbone == "uvit.":
        denoiser = build_uvit(take(weights, "uvit.uvit."), path, text_encoder.config.hidden_size)
        lines.append(load_exactly(denoiser, _name_uvit(weights), path, "CXR-IRGen's U-ViT"))
        fusion, text_tokens = "mean", "pooled"
    else:
        denoiser = _new_unet(config)
        lines.append(load_exactly(denoiser, take(weights, "unet."), path, "SD's U-Net"))
        fusion, text_tokens = "concat", "all"
    tokenizer = CLIPTokenizer.from_pretrained(config, subfolder="tokenizer")
    prompts = Prompts(text_encoder, tokenizer, *reference_encoder, fusion, text_tokens)
    return VisionModel(vae.eval(), denoiser.eval(), prompts, read_schedule(config)), lines


def build_uvit(weights: Weights, path: Path, context_dim: int) -> UViT:
    """A new U-ViT of the size of the authors' weights, for a context of one token."""
    needed = ("patch_embed.proj.weight", "pos_embed", "norm.weight")
    lacking = [name for name in needed if name not in weights]
    if lacking:
        raise ValueError(f"{path}: expected a U-ViT, found no {', '.join(lacking)}")
    width, channels, patch, _ = weights["patch_embed.proj.weight"].shape
    depth = len({name.split(".")[1] for name in weights if re.match(r"(in|out)_blocks\.", name)}) * 2 + 1
    known = {(size["embed_dim"], size["depth"]): size["num_heads"] for size in UVIT_SIZES.values()}
    # The weights do not say the heads: those of the paper's sizes, else 64 channels each.
    num_heads = known.get((width, depth), max(1, width // 64))
    # Two extra tokens: the label or context, and the time.
    side = round((weights["pos_embed"].shape[1] - 2) ** 0.5)
    return UViT(side * patch, channels, patch, width, depth, num_heads, context_dim=context_dim)


def _name_uvit(weights: Weights) -> Weights:
    """CXR-IRGen's names and order of tokens (context, time, patches) -> ours (time, context, patches)."""
    named = take(weights, "uvit.uvit.")
    named |= {f"context_embed.{name}": value for name, value in take(weights, "uvit.text_embed.").items()}
    context, time, patches = named["pos_embed"].split([1, 1, named["pos_embed"].shape[1] - 2], dim=1)
    return {**named, "pos_embed": torch.cat([time, context, patches], dim=1)}


def _rename_attention(weights: Weights, vae: AutoencoderKL) -> Weights:
    """Today's names for an autoencoder that old diffusers saved."""
    own = vae.state_dict()
    named = {}
    for name, value in weights.items():
        new = re.sub(r"\.(query|key|value|proj_attn)\.", lambda found: f".{_OLD_ATTENTION[found[1]]}.", name)
        # The LDM code has these as 1x1 convolutions.
        named[new] = (
            value.reshape(own[new].shape) if new in own and value.ndim == 4 > own[new].ndim else value
        )
    return named


def _load_text(text_encoder: CLIPTextModel, weights: Weights, path: Path) -> str:
    # A buffer that older transformers saved, and a level of names that newer ones dropped.
    named = {name: value for name, value in weights.items() if not name.endswith("position_ids")}
    if not hasattr(text_encoder, "text_model"):
        named = {name.removeprefix("text_model."): value for name, value in named.items()}
    return load_exactly(text_encoder, named, path, "SD's text encoder")


def read_schedule(config: str) -> DDPMScheduler:
    """The noise schedule of a Stable Diffusion folder or hub name, for training and as the solvers' start."""
    return drop_unused(DDPMScheduler.from_pretrained(config, subfolder="scheduler", clip_sample=False))


def _with_text(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    config: str,
) -> VisionModel:
    """The parts as a model that text alone prompts."""
    prompts = Prompts(text_encoder, tokenizer, None, None, "text", "all")
    return VisionModel(vae.eval(), unet.eval(), prompts, read_schedule(config))
