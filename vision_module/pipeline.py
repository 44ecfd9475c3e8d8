"""The vision model as one folder: a `StableDiffusionPipeline` folder, or the same with a U-ViT in it.

Beside the pipeline's own parts stands `prompting.json`: how text and reference were fused in training.
Plain diffusers loads a clipSD folder with `StableDiffusionPipeline.from_pretrained`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from vision_module.prompting import Prompts
from vision_module.uvit import UViT

PROMPTING = "prompting.json"


class UViTPipeline(DiffusionPipeline):
    """The parts of a clipUViT model under the names that a Stable Diffusion folder uses."""

    _optional_components = ("feature_extractor", "image_encoder")

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UViT,
        scheduler: DDPMScheduler,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
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


@dataclass
class VisionModel:
    """Autoencoder, denoiser, prompt encoders and noise schedule, ready to sample."""

    autoencoder: AutoencoderKL
    denoiser: UViT | UNet2DConditionModel
    prompts: Prompts
    scheduler: DDPMScheduler

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the pipeline folder (safetensors) and prompting.json."""
        parts = {
            "vae": self.autoencoder,
            "text_encoder": self.prompts.text_encoder,
            "tokenizer": self.prompts.tokenizer,
            "unet": self.denoiser,
            "scheduler": self.scheduler,
            "feature_extractor": self.prompts.feature_extractor,
            "image_encoder": self.prompts.image_encoder,
        }
        if isinstance(self.denoiser, UViT):
            pipeline: DiffusionPipeline = UViTPipeline(**parts)
        else:
            pipeline = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)
        pipeline.save_pretrained(folder)
        prompting = {"fusion": self.prompts.fusion, "text_tokens": self.prompts.text_tokens}
        (Path(folder) / PROMPTING).write_text(json.dumps(prompting, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "VisionModel":
        """Load a folder that `save_pretrained` wrote.

        Raises:
            ValueError: no model_index.json or prompting.json in the folder.
        """
        folder = Path(folder)
        for name in ("model_index.json", PROMPTING):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} is not a clipSD or clipUViT model folder: it has no {name}")
        index = json.loads((folder / "model_index.json").read_text())
        denoiser_class = UViT if index["_class_name"] == UViTPipeline.__name__ else UNet2DConditionModel
        prompting = json.loads((folder / PROMPTING).read_text())
        reference = None, None
        if (folder / "image_encoder").is_dir():
            reference = (
                CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder"),
                CLIPImageProcessor.from_pretrained(folder / "feature_extractor"),
            )
        prompts = Prompts(
            CLIPTextModel.from_pretrained(folder / "text_encoder"),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            *reference,
            **prompting,
        )
        return cls(
            AutoencoderKL.from_pretrained(folder / "vae").eval(),
            denoiser_class.from_pretrained(folder / "unet").eval(),
            prompts.eval(),
            DDPMScheduler.from_pretrained(folder / "scheduler"),
        )

    def to(self, device: torch.device | str) -> "VisionModel":
        for part in (self.autoencoder, self.denoiser, self.prompts):
            part.to(device)
        return self

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one item's latents."""
        config = self.denoiser.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def image_size(self) -> int:
        """Side of the films in pixels."""
        return self.latent_shape[1] * 2 ** (len(self.autoencoder.config.block_out_channels) - 1)
