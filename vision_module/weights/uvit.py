"""The U-ViT authors' published weights (Bao et al., CVPR 2023) as the start of a `UViT`.

Their ImageNet files are plain state dicts of the class-conditional model. Its tokens are label, time and
patches; ours are time, context and patches. So the position embeddings of the extra tokens change places, the
label embedding has no place here, and the layer that embeds the context has none there.
"""

import re
from pathlib import Path

import torch

from runtime.runs import model_source
from runtime.weights import Weights, load_pretrained, read_weights
from runtime.wording import shorten
from vision_module.uvit import UViT

_LABELS = "label_emb.weight"
_CONTEXT = ("context_embed.weight", "context_embed.bias")


def load_published(model: UViT, path: Path) -> str:
    """Load imagenet256_uvit_large.pth or its like into a model of the same size.

    Returns:
        A line that accounts for what was loaded, left out and left new.

    Raises:
        ValueError: the file is missing or unreadable, or its keys or shapes are not those of this size.
    """
    weights = read_weights(path, "the authors' U-ViT weights (imagenet256_uvit_large.pth or its like)")
    own = model.state_dict()
    expected = {name for name in own if name not in _CONTEXT}
    missing = sorted(expected - set(weights))
    unexpected = sorted(set(weights) - expected - {_LABELS})
    wrong = [
        f"{name} {tuple(weights[name].shape)} in the place of {tuple(own[name].shape)}"
        for name in sorted(expected & set(weights))
        if name != "pos_embed" and weights[name].shape != own[name].shape
    ]
    num_patches = model.patch_embed.num_patches
    num_extra = 1 + (_LABELS in weights)
    positions = (1, num_extra + num_patches, model.config["embed_dim"])
    if "pos_embed" in weights and tuple(weights["pos_embed"].shape) != positions:
        wrong.append(f"pos_embed {tuple(weights['pos_embed'].shape)} in the place of {positions}")
    if missing or unexpected or wrong:
        kinds = {"missing": missing, "unexpected": unexpected, "of another shape": wrong}
        details = "; ".join(f"{kind}: {shorten(names)}" for kind, names in kinds.items() if names)
        raise ValueError(
            f"{path}: expected the authors' U-ViT weights of {_describe(own)}, found {_describe(weights)}; "
            f"{details}"
        )
    loaded = {name: weights[name] for name in expected}
    # The one position of the label serves every token of the context.
    label, time = weights["pos_embed"][:, :1], weights["pos_embed"][:, num_extra - 1 : num_extra]
    context = label.expand(-1, model.num_extra_tokens - 1, -1)
    loaded["pos_embed"] = torch.cat([time, context, weights["pos_embed"][:, num_extra:]], dim=1)
    model.load_state_dict({**own, **loaded})
    left = f"{_LABELS} left out" if _LABELS in weights else "no label embedding in the file"
    return f"{path}: {len(loaded)} of {len(weights)} tensors loaded, {left}; new: {', '.join(_CONTEXT)}"


def start_uvit(model: UViT, source: Path) -> str:
    """Load what --init-from names into a model of the same size: a run of train_diffusion_clipUViT.py or its
    model folder, or the authors' weights (see `load_published`).

    Returns:
        A line that accounts for what was loaded.

    Raises:
        ValueError: no such run, or one of another size.
    """
    if not source.is_dir():
        return load_published(model, source)
    trained = load_pretrained(UViT, model_source(source, "clipUViT", "--init-from"), subfolder="unet")
    weights, own = trained.state_dict(), model.state_dict()
    wrong = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    if wrong or len(weights) != len(own):
        raise ValueError(
            f"--init-from {source}: it has {_describe(weights)}, expected are {_describe(own)}; other "
            f"tensors are {shorten(wrong or sorted(set(weights) - set(own)))}"
        )
    model.load_state_dict(weights)
    return f"{source}: all {len(weights)} tensors loaded"


def _describe(weights: Weights) -> str:
    """ "21 blocks of width 1024, patches of 2", as far as the weights say."""
    blocks = {
        match[0] for name in weights if (match := re.match(r"(in_blocks|out_blocks)\.\d+|mid_block", name))
    }
    patch = weights.get("patch_embed.proj.weight")
    if not blocks or patch is None or patch.ndim != 4:
        return "no U-ViT"
    channels = patch.shape[1]
    return f"{len(blocks)} blocks of width {patch.shape[0]}, patches of {patch.shape[2]}, {channels} channels"
