"""Published ViT weights (ImageNet, timm or Hugging Face layout) into the prior's transformer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models import adapt_input_conv
from timm.models.vision_transformer import VisionTransformer

from runtime.weights import read_weights

# Hugging Face's name within a block -> timm's; queries, keys and values are joined afterwards.
_IN_BLOCK = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_HEADS = ("head.", "head_dist.", "fc_norm.", "pre_logits.", "classifier.", "pooler.")


@dataclass(frozen=True)
class LoadedWeights:
    """What became of every key of a checkpoint."""

    taken: tuple[str, ...]
    """Weights of ours that were set."""
    left_out: tuple[str, ...]
    """Keys of the checkpoint's head, which a prior has no use for."""
    added: tuple[str, ...]
    """Weights of ours that the checkpoint cannot have and that start from its class token: registers."""


def load_vit_weights(vit: VisionTransformer, folder: str | Path) -> LoadedWeights:
    """Fill a timm VisionTransformer from the folder (or .safetensors file) of a published ViT.

    The patch embedding is resized to this patch and repeated over its channels (scaled, so that their sum
    keeps its size); positions are interpolated to this grid; the class token stands for all prefix tokens.

    Raises:
        ValueError: no weights there, a key that is not a ViT's, one that is missing, or another width or
            depth; nothing is filled with random numbers in silence.
    """
    path = Path(folder)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"--init-vit {folder}: no model.safetensors there")
    weights, left_out = convert_keys(read_weights(path, "a ViT"))
    own = vit.state_dict()
    grid = vit.patch_embed.grid_size
    try:
        kernel = weights["patch_embed.proj.weight"]
        kernel = resample_patch_embed(kernel.float(), list(vit.patch_embed.patch_size), verbose=False)
        weights["patch_embed.proj.weight"] = adapt_input_conv(own["patch_embed.proj.weight"].shape[1], kernel)
        positions = resample_abs_pos_embed(weights["pos_embed"].float(), list(grid), num_prefix_tokens=1)
    except KeyError as error:
        raise ValueError(f"--init-vit {path}: it has no {error.args[0]}, so it is no ViT") from None
    added = ()
    if vit.num_prefix_tokens > 1:
        registers = vit.num_prefix_tokens - 1
        # Small differences, or all prefix tokens would stay the same for ever.
        noise = own["reg_token"].float().clone()
        weights["reg_token"] = weights["cls_token"].float().expand(-1, registers, -1) + noise
        positions = torch.cat([positions[:, :1].expand(-1, 1 + registers, -1), positions[:, 1:]], dim=1)
        added = ("reg_token",)
    weights["pos_embed"] = positions
    missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for names, what in ((missing, "lacks"), (unknown, "also has"), (wrong, "has in another size")):
        if names:
            raise ValueError(
                f"--init-vit {path} {what} {names[0]} ({len(names)} keys in all): --dim, --depth and "
                "--num-heads must be those of the checkpoint (ViT-B: 768, 12, 12), --stem-depth 0"
            )
    vit.load_state_dict(weights)
    return LoadedWeights(tuple(sorted(set(own) - set(added))), tuple(sorted(left_out)), added)


def convert_keys(saved: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Weights under timm's names, and the keys that were left out, for either layout and any prefix."""
    weights: dict[str, torch.Tensor] = {}
    left_out: list[str] = []
    for key, value in saved.items():
        name = re.sub(r"^(?:module\.|model\.|vit\.|base_model\.)+", "", key)
        if name.startswith(_HEADS):
            left_out.append(key)
            continue
        block = re.match(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$", name)
        if block and block[2] in _IN_BLOCK:
            name = f"blocks.{block[1]}.{_IN_BLOCK[block[2]]}.{block[3]}"
        weights[_OUTSIDE.get(name, name)] = value
    for name in [name for name in weights if re.search(r"\.attn\.q\.", name)]:
        parts = [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if all(part in weights for part in parts):
            joined = torch.cat([weights.pop(part) for part in parts])
            weights[name.replace(".attn.q.", ".attn.qkv.")] = joined
    return weights, left_out
