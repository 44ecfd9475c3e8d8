"""Text and reference encoders out of any folder: CLIP, OpenCLIP, BERT, or a whole pipeline folder.

Wherever they come from they are transformers' own classes, so a model folder stays one that plain diffusers
loads. The interface is small: `encode_tokens` and `encode_pixels`, for every kind.
"""

from typing import TYPE_CHECKING, Any, cast

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    CLIPImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file

from runtime.files import reading
from runtime.weights import load_pretrained

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection, TimmWrapperModel

# model_type of config.json -> name of the class, which transformers imports when it is asked for: timm alone
# takes a second. BERTs are read without their pooler, which many checkpoints lack.
TEXT_ENCODERS = {
    "clip": ("CLIPTextModel", {}),
    "clip_text_model": ("CLIPTextModel", {}),
    "bert": ("BertModel", {"add_pooling_layer": False}),
    "roberta": ("RobertaModel", {"add_pooling_layer": False}),
}
TIMM = "timm_wrapper"
IMAGE_ENCODERS = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    TIMM: "TimmWrapperModel",
}


def load_text_encoder(
    source: str, num_tokens: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The text encoder of a folder or hub name, and its tokenizer.

    Args:
        source: of a CLIPModel, a text model, an OpenCLIP model, a BERT, or a pipeline with a text_encoder.
        num_tokens: length L of the texts; None takes the tokenizer's own, at most the encoder's positions.

    Raises:
        ValueError: nothing of that kind, or too many tokens.
    """
    if _has(source, "open_clip_config.json"):
        from vision_module.weights.open_clip import convert_open_clip_text

        model, tokenizer = convert_open_clip_text(source)
    else:
        model_place, tokenizer_place = {}, {}
        if _has(source, "model_index.json"):
            model_place, tokenizer_place = {"subfolder": "text_encoder"}, {"subfolder": "tokenizer"}
        name, options = TEXT_ENCODERS[_model_type(source, model_place, TEXT_ENCODERS, "text")]
        model = load_pretrained(getattr(transformers, name), source, **model_place, **options)
        with reading(source, "its tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(source, **tokenizer_place)
    if model.config.model_type in ("bert", "roberta"):
        # The name under which StableDiffusionPipeline looks it up: padding is masked inside a BERT.
        model.config.use_attention_mask = True
    positions = model.config.max_position_embeddings - 2 * (model.config.model_type == "roberta")
    if num_tokens and num_tokens > positions:
        raise ValueError(f"--num-tokens {num_tokens}: {source} has {positions} positions")
    tokenizer.model_max_length = num_tokens or min(tokenizer.model_max_length, positions)
    return model.eval(), tokenizer


def load_image_encoder(source: str) -> tuple[PreTrainedModel, CLIPImageProcessor]:
    """The image encoder of a folder or hub name, and the processor that says its size and normalization.

    Raises:
        ValueError: there is none.
    """
    if _has(source, "open_clip_config.json"):
        from vision_module.weights.open_clip import convert_open_clip_image

        return convert_open_clip_image(source)
    model_place: dict[str, Any] = {}
    processor_place: dict[str, Any] = {}
    if _has(source, "model_index.json"):
        model_place, processor_place = {"subfolder": "image_encoder"}, {"subfolder": "feature_extractor"}
    name = IMAGE_ENCODERS[_model_type(source, model_place, IMAGE_ENCODERS, "image")]
    with reading(source, "its image processor"):
        processor = CLIPImageProcessor.from_pretrained(source, **processor_place)
    return load_pretrained(getattr(transformers, name), source, **model_place), processor


def encode_tokens(
    text_encoder: PreTrainedModel, token_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, L) -> states of all tokens (B, L, D) and the pooled state (B, D).

    A CLIP reads its padding too, as StableDiffusionPipeline has it, and pools at the end of the text; a BERT
    masks it and pools at [CLS].
    """
    mask = None
    if getattr(text_encoder.config, "use_attention_mask", False):
        mask = (token_ids != text_encoder.config.pad_token_id).long()
    output = text_encoder(input_ids=token_ids, attention_mask=mask)
    states, pooled = output.last_hidden_state, output.pooler_output
    return states, states[:, 0] if pooled is None else pooled


def encode_pixels(image_encoder: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Normalized pixels (B, 3, s, s) -> pooled states (B, D), before any projection."""
    if image_encoder.config.model_type == TIMM:
        return image_encoder(pixel_values=pixel_values).pooler_output
    clip = cast("CLIPVisionModelWithProjection", image_encoder)
    return clip.vision_model(pixel_values=pixel_values).pooler_output


def image_width(image_encoder: PreTrainedModel) -> int:
    """Width D of what `encode_pixels` gives."""
    if image_encoder.config.model_type == TIMM:
        timm_model: Any = cast("TimmWrapperModel", image_encoder).timm_model
        return timm_model.num_features
    return image_encoder.config.hidden_size


def _has(source: str, name: str) -> bool:
    """Whether a folder, a cached hub model or a hub model holds this file."""
    found = cached_file(
        source,
        name,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found is not None


def _model_type(source: str, place: dict[str, str], known: dict, half: str) -> str:
    if not _has(source, "/".join([*place.values(), "config.json"])):
        raise ValueError(f"{source}: no {half} encoder (no config.json, or none that can be downloaded)")
    with reading(source, f"config.json of its {half} encoder"):
        model_type = AutoConfig.from_pretrained(source, **place).model_type
    if model_type not in known:
        raise ValueError(
            f"{source} is a {model_type} model and has no {half} encoder that is known here: "
            f"pass one of {', '.join(known)}, or an OpenCLIP folder"
        )
    return model_type
