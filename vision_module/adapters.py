"""LoRA adapters (Hu et al., 2022) on the U-Net and the text encoder, through peft.

CXRGenAI's settings are the defaults. A finished run holds either the merged model, a pipeline folder like any
other, or the adapter alone (`load_lora_weights` of plain diffusers reads it) beside the names of its base.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from diffusers import ModelMixin, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import PreTrainedModel

from runtime.files import reading
from runtime.weights import read_weights
from training.optimizer import ParameterGroup
from vision_module.config import LoraConfig
from vision_module.uvit import UViT

Adapted = TypeVar("Adapted", bound=PreTrainedModel | ModelMixin)
FILE = "pytorch_lora_weights.safetensors"
_UNET_LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]
_TEXT_LAYERS = {
    "clip_text_model": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "bert": ["query", "key", "value"],
    "roberta": ["query", "key", "value"],
}


def add_adapters(
    unet: UNet2DConditionModel, text_encoder: PreTrainedModel, config: LoraConfig
) -> Sequence[ParameterGroup]:
    """Freeze both and inject their adapters; the optimizer's groups, under the names of `PromptedDenoiser`.

    Raises:
        ValueError: an adapter file is asked for of a text encoder that diffusers cannot load one into.
    """
    from peft import LoraConfig as PeftConfig

    unet.requires_grad_(False)
    text_encoder.requires_grad_(False)
    unet.add_adapter(
        PeftConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=_UNET_LAYERS,
        )
    )
    if not config.lora_text_encoder:
        return [ParameterGroup("", config.lora_rate_factor, config.lora_weight_decay)]
    kind = text_encoder.config.model_type
    if config.lora_export == "adapter" and kind != "clip_text_model":
        raise ValueError(f"--lora-export adapter: diffusers loads no adapter into a {kind}; use merged")
    text_encoder.add_adapter(
        PeftConfig(
            r=config.text_rank,
            lora_alpha=config.text_alpha,
            lora_dropout=config.text_dropout,
            target_modules=_TEXT_LAYERS[kind],
        )
    )
    return [
        ParameterGroup("denoiser.", config.lora_rate_factor, config.lora_weight_decay),
        ParameterGroup("text_encoder.", config.text_rate_factor, config.text_weight_decay),
    ]


def has_adapters(model: nn.Module) -> bool:
    """Whether peft's adapters lie in the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(layer, BaseTunerLayer) for layer in model.modules())


def merge_adapters(model: Adapted) -> Adapted:
    """A copy of the model with its adapters added into the weights; the model itself where it has none."""
    from diffusers.utils import recurse_remove_peft_layers
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not has_adapters(model):
        return model
    merged = copy.deepcopy(model)
    for layer in merged.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
    recurse_remove_peft_layers(merged)
    # A new model of the same kind: what was adapted once would go on saving its adapters alone.
    kind: Any = type(model)
    plain: Adapted = getattr(kind, "from_config", kind)(model.config)
    plain.load_state_dict(merged.state_dict())
    return plain.train(model.training)


def save_adapters(unet: UViT | UNet2DConditionModel, text_encoder: PreTrainedModel, folder: Path) -> None:
    """Write pytorch_lora_weights.safetensors with ranks and scales, as diffusers' own training scripts do."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = {}
    for name, model in {"unet": unet, "text_encoder": text_encoder}.items():
        if has_adapters(model):
            weights = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
            layers[f"{name}_lora_layers"] = weights
            layers[f"{name}_lora_adapter_metadata"] = model.peft_config["default"].to_dict()
    StableDiffusionPipeline.save_lora_weights(folder, **layers)


def load_adapters(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Load what `save_adapters` wrote, by diffusers itself.

    Raises:
        ValueError: the file is damaged, or has tensors for which the models have no place.
    """
    file = folder / FILE
    weights = read_weights(file, "LoRA adapters")
    with reading(file):
        pipeline.load_lora_weights(str(folder))
    adapted = (pipeline.unet, pipeline.text_encoder)
    found = sum(".lora_" in name for model in adapted for name, _ in model.named_parameters())
    if found != len(weights) or not found:
        raise ValueError(f"{file}: {found} of its {len(weights)} tensors have a place in the models")
