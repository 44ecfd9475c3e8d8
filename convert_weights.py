#!/usr/bin/env python
"""Published weights -> a model folder that every script here takes, and plain diffusers loads.

    python convert_weights.py sd FOLDER_OR_FILE --out runs/sd-1-4          # SD folder, .ckpt or .safetensors
    python convert_weights.py cxr-irgen FILE.ckpt --out runs/cxr-irgen     # either backbone
    python convert_weights.py monai BUNDLE --out runs/monai-ldm            # model zoo's chest X-ray LDM
    python convert_weights.py uvit imagenet256_uvit_large.pth --out runs/uvit-imagenet

Every tensor is accounted for; a file that does not fit is refused with what was expected and found.
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from diffusers import DDPMScheduler, ModelMixin
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from runtime.cli import run_script
from runtime.files import naming, publish_folder, read_json
from runtime.weights import load_pretrained, read_weights
from vision_module.pipeline import VisionModel
from vision_module.prompting import Prompts
from vision_module.weights.monai import MonaiConfig, convert_autoencoder, convert_unet
from vision_module.weights.sd import build_uvit, convert_cxr_irgen, convert_single_file, read_pipeline
from vision_module.weights.uvit import load_published


@dataclass(frozen=True)
class Config:
    source: tyro.conf.Positional[Literal["sd", "uvit", "cxr-irgen", "monai"]]
    """Whose weights: Stable Diffusion, the U-ViT authors', CXR-IRGen's, or MONAI's model zoo."""
    file: tyro.conf.Positional[Path]
    """Weights file, a Stable Diffusion folder, or a MONAI bundle (the folder with models/ and configs/); of
    a bundle also autoencoder.pth or diffusion_model.pth alone."""
    out: Path
    """Model folder to write; it must not be there yet."""
    config: str = "CompVis/stable-diffusion-v1-4"
    """sd and cxr-irgen: Stable Diffusion folder or hub name with the architecture and the tokenizer."""
    reference_encoder: str = "openai/clip-vit-base-patch32"
    """cxr-irgen: folder or hub name of the CLIP that embeds the reference film."""
    text_encoder: str = "stabilityai/stable-diffusion-2-1-base"
    """monai: folder or hub name whose text_encoder and tokenizer the U-Net was trained with."""
    scale_factor: float = 0.3
    """monai: factor on the latents; the bundle's scripts/sampler.py has 0.3."""
    context_dim: int = 768
    """uvit: width of the context that the new context embedding takes."""
    dry_run: bool = False
    """Print the resolved settings and stop."""


def convert(config: Config) -> tuple[VisionModel | ModelMixin, list[str]]:
    """The model of the file, and lines that account for its tensors."""
    if config.source == "monai":
        return convert_monai(config)
    if config.source == "sd" and config.file.is_dir():
        return read_pipeline(str(config.file)), []
    weights = read_weights(config.file, f"weights of {config.source}")
    if config.source == "sd":
        return convert_single_file(weights, config.file, config.config)
    if config.source == "cxr-irgen":
        name = config.reference_encoder
        encoder = (
            load_pretrained(CLIPVisionModelWithProjection, name),
            CLIPImageProcessor.from_pretrained(name),
        )
        return convert_cxr_irgen(weights, config.file, config.config, encoder)
    model = build_uvit(weights, config.file, config.context_dim)
    return model, [load_published(model, config.file)]


def convert_monai(config: Config) -> tuple[VisionModel | ModelMixin, list[str]]:
    """A bundle as a model that text prompts; one of its two files as that model alone."""
    bundle = config.file if config.file.is_dir() else config.file.parent.parent
    settings = bundle / "configs" / "inference.json"
    inference = read_json(settings) if settings.is_file() else {}
    shape = MonaiConfig.from_bundle(inference) if inference else MonaiConfig()
    if config.file.is_file():
        weights = read_weights(config.file, "weights of a MONAI bundle")
        if any(name.startswith("encoder.blocks.") for name in weights):
            return convert_autoencoder(weights, config.file, shape, config.scale_factor), []
        return convert_unet(weights, config.file, shape, sample_size=64), []
    paths = [config.file / "models" / name for name in ("autoencoder.pth", "diffusion_model.pth")]
    autoencoder_weights, unet_weights = (read_weights(path, "weights of a MONAI bundle") for path in paths)
    autoencoder = convert_autoencoder(autoencoder_weights, paths[0], shape, config.scale_factor)
    unet = convert_unet(unet_weights, paths[1], shape, sample_size=64)
    schedule = inference.get("scheduler", {})
    scheduler = DDPMScheduler(
        num_train_timesteps=schedule.get("num_train_timesteps", 1000),
        beta_start=schedule.get("beta_start", 0.0015),
        beta_end=schedule.get("beta_end", 0.0205),
        beta_schedule="scaled_linear",
        prediction_type=schedule.get("prediction_type", "v_prediction"),
        clip_sample=False,
    )
    text_encoder = load_pretrained(CLIPTextModel, config.text_encoder, subfolder="text_encoder")
    tokenizer = CLIPTokenizer.from_pretrained(config.text_encoder, subfolder="tokenizer")
    prompts = Prompts(text_encoder, tokenizer, None, None, "text", "all")
    lines = [
        f"{path.name}: all {len(found)} tensors mapped"
        for path, found in zip(paths, (autoencoder_weights, unet_weights), strict=True)
    ]
    return VisionModel(autoencoder, unet, prompts, scheduler), lines


def main(argv: list[str] | None = None) -> None:
    config = tyro.cli(Config, args=argv, description=__doc__)
    if config.dry_run:
        print(json.dumps(dataclasses.asdict(config), indent=2, default=str))
        return
    if config.out.exists():
        raise ValueError(f"--out {config.out} is there already: name another folder")
    if not config.file.exists():
        raise ValueError(f"{config.file}: no such file or folder")
    model, lines = convert(config)
    # The folder appears whole or not at all.
    temporary = config.out.with_name(f".{config.out.name}.tmp")
    with naming(config.out):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            model.save_pretrained(temporary)
            publish_folder(temporary, config.out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    print("\n".join([*lines, f"{config.out}: {type(model).__name__}"]))


if __name__ == "__main__":
    run_script(main)
