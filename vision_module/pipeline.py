"""The vision model as one folder: a `StableDiffusionPipeline` folder, or the same with a U-ViT in it.

Beside the pipeline's own parts stands `prompting.json`: how text and reference were fused in training; in a
student's folder also `few_step.json`: how it is to be asked.
Plain diffusers loads a clipSD folder with `StableDiffusionPipeline.from_pretrained`. A LoRA run may hold the
adapters alone; `adapter.json` then names the models they belong to.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from runtime.devices import move, suit_gpu
from runtime.files import read_json, reading
from runtime.tokenizers import check_tokenizer
from runtime.weights import drop_unused, load_pretrained
from vision_module.adapters import load_adapters, merge_adapters, save_adapters
from vision_module.config import Fusion, TextTokens
from vision_module.diffusion import Schedule
from vision_module.encoders import load_image_encoder, load_text_encoder
from vision_module.few_step import FewStep
from vision_module.prompting import Prompts
from vision_module.uvit import UViT

PROMPTING = "prompting.json"
ADAPTER = "adapter.json"


class UViTPipeline(DiffusionPipeline):
    """The parts of a clipUViT model under the names that a Stable Diffusion folder uses."""

    _optional_components = ("feature_extractor", "image_encoder")

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        unet: UViT,
        scheduler: Schedule,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: PreTrainedModel | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
        )


@dataclass(frozen=True)
class Sources:
    """Folders or hub names of the models that an adapter belongs to."""

    unet: str
    autoencoder: str
    clip: str
    reference_encoder: str


@dataclass
class VisionModel:
    """Autoencoder, denoiser, prompt encoders and noise schedule, ready to sample."""

    autoencoder: AutoencoderKL
    denoiser: UViT | UNet2DConditionModel
    prompts: Prompts
    scheduler: Schedule
    few_step: FewStep | None = None  # of a student

    def suit_gpu(self) -> None:
        """Lay out what draws as tensor cores want it; values change by rounding only."""
        for model in (self.autoencoder, self.denoiser):
            suit_gpu(model)

    def compile(self) -> None:
        """Compile what runs once a step, the denoiser, and what makes the film, the decoder, in place.

        Batches have one shape, and with a guidance interval two: each is compiled when it first comes.
        """
        parts: tuple[nn.Module, ...] = (self.denoiser, self.autoencoder.decoder)
        for part in parts:
            part.compile(dynamic=False)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the pipeline folder (safetensors) and prompting.json, adapters merged into the weights."""
        parts: dict[str, Any] = {
            "vae": self.autoencoder,
            "text_encoder": merge_adapters(self.prompts.text_encoder),
            "tokenizer": self.prompts.tokenizer,
            "unet": merge_adapters(self.denoiser),
            "scheduler": self.scheduler,
            "feature_extractor": self.prompts.feature_extractor,
            "image_encoder": self.prompts.image_encoder,
        }
        if isinstance(self.denoiser, UViT):
            pipeline: DiffusionPipeline = UViTPipeline(**parts)
        else:
            parts |= {"safety_checker": None, "requires_safety_checker": False}
            pipeline = StableDiffusionPipeline(**parts)
        pipeline.save_pretrained(folder)
        self._save_prompting(Path(folder))
        if self.few_step:
            self.few_step.save(Path(folder))

    def save_adapter(self, folder: str | Path, sources: Sources) -> None:
        """Write the LoRA adapters alone, beside the schedule, prompting.json and adapter.json."""
        folder = Path(folder)
        save_adapters(self.denoiser, self.prompts.text_encoder, folder)
        self.scheduler.save_pretrained(folder / "scheduler")
        self._save_prompting(folder)
        (folder / ADAPTER).write_text(json.dumps(asdict(sources), indent=2) + "\n")

    def _save_prompting(self, folder: Path) -> None:
        prompting = {
            "fusion": self.prompts.fusion,
            "text_tokens": self.prompts.text_tokens,
            "num_tokens": self.prompts.tokenizer.model_max_length,
        }
        (folder / PROMPTING).write_text(json.dumps(prompting, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "VisionModel":
        """Load a folder that `save_pretrained` or `save_adapter` wrote.

        Raises:
            ValueError: no prompting.json, or neither model_index.json nor adapter.json, in the folder; or the
                base of an adapter is gone.
        """
        folder = Path(folder)
        if not (folder / PROMPTING).is_file():
            raise ValueError(f"{folder} is not a clipSD or clipUViT model folder: it has no {PROMPTING}")
        prompting = read_json(folder / PROMPTING)
        if (folder / ADAPTER).is_file():
            return cls._with_adapter(folder, prompting)
        if not (folder / "model_index.json").is_file():
            raise ValueError(f"{folder} is not a clipSD or clipUViT model folder: it has no model_index.json")
        index = read_json(folder / "model_index.json")
        denoiser_class = UViT if index.get("_class_name") == UViTPipeline.__name__ else UNet2DConditionModel
        return cls(
            load_pretrained(AutoencoderKL, folder, subfolder="vae"),
            load_pretrained(denoiser_class, folder, subfolder="unet"),
            _load_prompts(folder, str(folder), str(folder), prompting),
            load_scheduler(folder),
            FewStep.read(folder),
        )

    @classmethod
    def _with_adapter(cls, folder: Path, prompting: dict) -> "VisionModel":
        """The base models with the adapters in them, loaded by diffusers itself."""
        with reading(folder / ADAPTER):
            sources = Sources(**read_json(folder / ADAPTER))
        for source in asdict(sources).values():
            if not Path(source).exists() and source.count("/") != 1:
                raise ValueError(
                    f"{folder / ADAPTER}: its base {source} is not there (any more): name its new place"
                )
        model = cls(
            load_pretrained(AutoencoderKL, sources.autoencoder),
            load_pretrained(UNet2DConditionModel, sources.unet, subfolder="unet"),
            _load_prompts(folder, sources.clip, sources.reference_encoder, prompting),
            load_scheduler(folder),
        )
        parts: dict[str, Any] = {
            "vae": model.autoencoder,
            "text_encoder": model.prompts.text_encoder,
            "tokenizer": model.prompts.tokenizer,
            "unet": model.denoiser,
            "scheduler": model.scheduler,
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
        load_adapters(StableDiffusionPipeline(**parts), folder)
        model.denoiser.eval()
        model.prompts.eval()
        return model

    def to(self, device: torch.device | str) -> "VisionModel":
        for part in (self.autoencoder, self.denoiser, self.prompts):
            move(part, device)
        return self

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one item's latents."""
        config = self.denoiser.config
        return config["in_channels"], config["sample_size"], config["sample_size"]

    @property
    def image_size(self) -> int:
        """Side of the films in pixels."""
        return self.latent_shape[1] * 2 ** (len(self.autoencoder.config["block_out_channels"]) - 1)


def _load_prompts(folder: Path, clip: str, reference_encoder: str, prompting: dict) -> Prompts:
    with reading(folder / PROMPTING, "with its encoders"):
        return load_prompts(clip, reference_encoder, **prompting)


def load_scheduler(folder: Path) -> Schedule:
    """The schedule of a pipeline folder, with betas or of straight paths. ValueError where it cannot be
    read."""
    with reading(folder / "scheduler", "the noise schedule"):
        name = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name")
        flow = name == FlowMatchEulerDiscreteScheduler.__name__
        kind = FlowMatchEulerDiscreteScheduler if flow else DDPMScheduler
        return drop_unused(kind.from_pretrained(folder / "scheduler"))


def load_prompts(
    clip: str,
    reference_encoder: str,
    fusion: Fusion,
    text_tokens: TextTokens,
    num_tokens: int | None = None,
) -> Prompts:
    """The text half of one folder or hub name, and the image half of another (or the same).

    Args:
        num_tokens: length L of the texts; None takes the tokenizer's own.
    """
    text_encoder, tokenizer = load_text_encoder(clip, num_tokens)
    image_encoder, feature_extractor = None, None
    if fusion != "text":
        image_encoder, feature_extractor = load_image_encoder(reference_encoder)
    prompts = Prompts(text_encoder, tokenizer, image_encoder, feature_extractor, fusion, text_tokens)
    ends = text_encoder.config.model_type == "clip_text_model"
    with reading(clip, "its tokenizer"):
        check_tokenizer(
            tokenizer, text_encoder.config.vocab_size, ("pad_token", "eos_token") if ends else ("pad_token",)
        )
    return prompts
