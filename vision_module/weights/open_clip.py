"""OpenCLIP models as transformers' own classes: read once by open_clip (an extra), then stock folders.

A text tower from the hub (BiomedCLIP's PubMedBERT) is a BertModel inside already, a timm image tower becomes
a `TimmWrapperModel`; OpenCLIP's own towers have the arithmetic of CLIPTextModel and CLIPVisionModel under
other names.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TimmWrapperConfig,
    TimmWrapperModel,
)
from transformers.utils import cached_file

from runtime.files import read_json, reading
from runtime.weights import check_finite

# OpenCLIP's names -> transformers'.
_NAMES = {
    "transformer.resblocks.": "encoder.layers.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".attn.": ".self_attn.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
    "token_embedding.": "embeddings.token_embedding.",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.": "final_layer_norm.",
    "class_embedding": "embeddings.class_embedding",
    "conv1.": "embeddings.patch_embedding.",
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
}


def convert_open_clip_text(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The text tower of an OpenCLIP folder or hub name, and its tokenizer.

    Raises:
        ValueError: open_clip is not installed, or a tower of a kind that has no stock form.
    """
    open_clip, model = _load(source)
    tokenizer = open_clip.get_tokenizer(_schema(source))
    tower = getattr(model, "text", model)
    if hasattr(tower, "config"):  # a tower from the hub
        return tower.transformer, tokenizer.tokenizer
    weights = {name: value for name, value in tower.state_dict().items() if not name.startswith("visual.")}
    dropped = ("text_projection", "logit_scale", "logit_bias")
    config = CLIPTextConfig(
        **_shape(source, tower.transformer),
        vocab_size=tower.vocab_size,
        max_position_embeddings=tower.context_length,
        bos_token_id=tokenizer.sot_token_id,
        eos_token_id=tokenizer.eot_token_id,
        pad_token_id=0,
    )
    converted = CLIPTextModel(config)
    converted.load_state_dict(_rename(weights, dropped))
    return converted, _stock_tokenizer(tokenizer)


def convert_open_clip_image(source: str) -> tuple[PreTrainedModel, CLIPImageProcessor]:
    """The image tower of an OpenCLIP folder or hub name, and its processor.

    Raises:
        ValueError: open_clip is not installed, or a tower of a kind that has no stock form.
    """
    _, model = _load(source)
    tower, settings = model.visual, _settings(source)
    size = tower.image_size[0]
    processor = CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=list(settings["preprocess_cfg"]["mean"]),
        image_std=list(settings["preprocess_cfg"]["std"]),
    )
    if hasattr(tower, "trunk"):
        name = settings["model_cfg"]["vision_cfg"]["timm_model_name"]
        timm_model = TimmWrapperModel(TimmWrapperConfig(architecture=name, do_pooling=True))
        timm_model.timm_model.load_state_dict(tower.trunk.state_dict())
        return timm_model.eval(), processor
    config = CLIPVisionConfig(
        **_shape(source, tower.transformer),
        image_size=size,
        patch_size=tower.patch_size[0],
        projection_dim=tower.output_dim,
    )
    weights = _rename(tower.state_dict(), ("proj",))
    converted = CLIPVisionModelWithProjection(config)
    converted.vision_model.load_state_dict(weights)
    with torch.no_grad():
        converted.visual_projection.weight.copy_(tower.proj.T)
    return converted.eval(), processor


def _load(source: str) -> tuple[Any, Any]:
    """The package, which is an extra, and its model, whose towers share no type."""
    try:
        import open_clip
    except ImportError:
        raise ValueError(
            f"{source} is an OpenCLIP model, which open_clip reads: pip install open_clip_torch"
        ) from None
    with reading(source, "the OpenCLIP model"):
        model = open_clip.create_model(_schema(source)).eval()
    check_finite(model.state_dict(), source)
    return open_clip, model


def _schema(source: str) -> str:
    return f"local-dir:{source}" if Path(source).is_dir() else f"hf-hub:{source}"


def _settings(source: str) -> dict:
    path = cached_file(source, "open_clip_config.json")
    if path is None:
        raise ValueError(f"{source}: no open_clip_config.json there")
    return read_json(Path(path))


def _shape(source: str, transformer: Any) -> dict[str, Any]:
    """The settings that both towers share. Raises ValueError for blocks that a CLIP does not have."""
    block = transformer.resblocks[0]
    if type(block).__name__ != "ResidualAttentionBlock" or not isinstance(block.ls_1, nn.Identity):
        raise ValueError(f"{source}: OpenCLIP's {type(block).__name__} has no form in transformers' CLIP")
    return {
        "hidden_size": transformer.width,
        "intermediate_size": block.mlp.c_fc.out_features,
        "num_hidden_layers": transformer.layers,
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": "quick_gelu" if type(block.mlp.gelu).__name__ == "QuickGELU" else "gelu",
    }


def _rename(weights: dict[str, torch.Tensor], dropped: tuple[str, ...]) -> dict[str, torch.Tensor]:
    renamed: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if name.split(".")[0] in dropped:
            continue
        for theirs, ours in _NAMES.items():
            name = name.replace(theirs, ours)
        stacked = re.fullmatch(r"(.*\.self_attn\.)in_proj_(weight|bias)", name)
        if stacked:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{stacked[1]}{part}_proj.{stacked[2]}"] = rows
        else:
            renamed[name] = value
    return renamed


def _stock_tokenizer(tokenizer: Any) -> CLIPTokenizer:
    """OpenCLIP's byte-pair tokenizer as a CLIPTokenizer; its padding is token 0, "!"."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {tokenizer.sot_token_id: start, tokenizer.eot_token_id: end}
    tokens: dict[str, int] = tokenizer.encoder
    vocabulary = {special.get(number, token): number for token, number in tokens.items()}
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    return CLIPTokenizer(
        vocab=vocabulary, merges=merges, pad_token="!", model_max_length=tokenizer.context_length
    )
