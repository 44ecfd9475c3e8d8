#!/usr/bin/env python
"""Train the Stable Diffusion U-Net that draws films from text and a reference film.

Full fine-tune (--init-from), LoRA (--lora), or from scratch with any U-Net. The model folder is a stock
StableDiffusionPipeline folder, with the reference encoder in image_encoder/.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig
from vision_module.config import DiffusionConfig, LoraConfig, UNetConfig, check_lora
from vision_module.denoiser_config import DEMO_TRAIN, PAPER_EPOCHS, PAPER_TRAIN, DenoiserConfig

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@dataclass(frozen=True)
class Config(DenoiserConfig):
    out: Path = setting(Path("runs/demo/sd"), identity=False)
    """Run folder."""
    diffusion: DiffusionConfig = field(
        default_factory=lambda: DiffusionConfig(fusion="concat", text_tokens="all")
    )
    model: UNetConfig = field(default_factory=UNetConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)


# The demo's U-Net takes about three times as long a step as its U-ViT, hence fewer steps.
DEMO_UNET_TRAIN = dataclasses.replace(
    DEMO_TRAIN, num_steps=2400, optimizer="adamw", learning_rate=2e-3, validate_every=1200
)
DEMO_LDM = DiffusionConfig(fusion="text", text_tokens="all")

PRESETS = {
    "demo": Config(train=DEMO_UNET_TRAIN),
    # CXR-IRGen (WACV 2024), sec. 4.1: SD 1.4 on 256x256 films, reference appended as one more token,
    # AdamW 5e-5, batch 32, 10 epochs; no condition is ever dropped.
    "paper": Config(
        autoencoder="stabilityai/sd-vae-ft-mse",
        clip="openai/clip-vit-large-patch14",
        reference_encoder="openai/clip-vit-base-patch32",
        image_size=256,
        texts=("prompt",),
        diffusion=DiffusionConfig(
            prediction_type="epsilon", fusion="concat", text_tokens="all", drop_prompt=0.0, drop_reference=0.0
        ),
        model=UNetConfig(init_from="CompVis/stable-diffusion-v1-4"),
        num_epochs=PAPER_EPOCHS,
        train=PAPER_TRAIN,
        dry_run_latents=(4, 32, 32),
        dry_run_width=768,
    ),
    # MONAI's chest X-ray LDM (Pinaya et al., 2022; its model-zoo card): 512x512, latents 3x64x64, a U-Net of
    # 256/512/768 with one head a level, v-prediction, SD 2.1's text encoder, up to five random sentences.
    "monai-ldm": Config(
        autoencoder="runs/monai_ldm/autoencoder",
        clip="stabilityai/stable-diffusion-2-1-base",
        image_size=512,
        texts=("findings_section", "impression_section"),
        num_sentences=5,
        diffusion=DiffusionConfig(beta_start=0.0015, beta_end=0.0205, fusion="text", text_tokens="all"),
        model=UNetConfig(block_out_channels=(256, 512, 768), layers_per_block=2, num_heads=1),
        train=TrainConfig(
            num_steps=1_000_000,  # 1,000 epochs of 96,000 films
            batch_size=96,
            learning_rate=2.5e-5,
            betas=(0.9, 0.999),
            schedule="constant",
            warmup_steps=0,
            checkpoint_every=2000,
        ),
        dry_run_latents=(3, 64, 64),
        dry_run_width=1024,
    ),
    # The same at demo scale; the prompt is one more sentence, since the demo is scored on prompts.
    "monai-ldm-demo": Config(
        texts=("prompt", "findings_section", "impression_section"),
        num_sentences=5,
        diffusion=dataclasses.replace(DEMO_LDM, beta_start=0.0015, beta_end=0.0205),
        model=UNetConfig(num_heads=1),
        train=DEMO_UNET_TRAIN,
    ),
    # CXRGenAI: LoRA on SD 1.4's U-Net and text encoder, learning rate 1e-4 times 0.3 and 0.05.
    "cxrgenai": Config(
        autoencoder="stabilityai/sd-vae-ft-mse",
        clip="CompVis/stable-diffusion-v1-4",
        image_size=256,
        texts=("report",),
        gradient_checkpointing=True,
        diffusion=DiffusionConfig(
            prediction_type="epsilon", fusion="text", text_tokens="all", drop_prompt=0.0
        ),
        model=UNetConfig(init_from="CompVis/stable-diffusion-v1-4"),
        lora=LoraConfig(lora=True, lora_text_encoder=True),
        train=TrainConfig(
            num_steps=10_000, batch_size=8, learning_rate=1e-4, betas=(0.9, 0.999), checkpoint_every=1000
        ),
        dry_run_latents=(4, 32, 32),
        dry_run_width=768,
    ),
    # The small Stable Diffusion that the demo adapts, as CXRGenAI adapts SD 1.4: it knows other films and
    # their reports, and has never seen a prompt sentence.
    "cxrgenai-base-demo": Config(
        texts=("report",), diffusion=DEMO_LDM, train=dataclasses.replace(DEMO_UNET_TRAIN, num_steps=1600)
    ),
    "cxrgenai-demo": Config(
        texts=("prompt",),
        diffusion=DEMO_LDM,
        lora=LoraConfig(lora=True, lora_text_encoder=True),
        model=UNetConfig(init_from="runs/demo/cxrgenai_base"),
        train=dataclasses.replace(DEMO_UNET_TRAIN, num_steps=800, learning_rate=1e-2),
    ),
    # Text-to-X-ray: reports through a frozen ClinicalBERT, DDPM's own schedule, noise predicted. Its U-Net's
    # widths are not published; these are of its latents' size.
    "text-to-xray": Config(
        autoencoder="runs/text_to_xray/autoencoder",
        clip="emilyalsentzer/Bio_ClinicalBERT",
        image_size=256,
        texts=("report",),
        num_tokens=256,
        diffusion=DiffusionConfig(
            prediction_type="epsilon",
            beta_schedule="linear",
            beta_start=1e-4,
            beta_end=0.02,
            fusion="text",
            text_tokens="all",
        ),
        model=UNetConfig(block_out_channels=(128, 256, 512), layers_per_block=2, num_heads=8),
        train=TrainConfig(num_steps=100_000, batch_size=32, learning_rate=1e-4, ema_decay=0.9999),
        dry_run_latents=(4, 32, 32),
        dry_run_width=768,
    ),
    # The same at demo scale, with the demo's own text encoder: there is no small ClinicalBERT. It predicts
    # the velocity, not the noise: after 2,400 steps of noise prediction the films' brightness still drifts
    # away (AUROC .60): an error in the noise grows by deviation / signal, over 100 at this schedule's end.
    "text-to-xray-demo": Config(
        texts=("prompt", "report"),
        diffusion=dataclasses.replace(DEMO_LDM, beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
        model=UNetConfig(block_out_channels=(32, 64, 128)),
        train=DEMO_UNET_TRAIN,
    ),
}


def main(argv: list[str] | None = None) -> None:
    config = parse_config(PRESETS, argv, __doc__)
    check_lora(config.lora, config.model.init_from)
    if config.diffusion.text_tokens == "facts":
        raise ValueError("--text-tokens facts is the U-ViT's: stock pipelines could not prompt this one")
    if config.dry_run:
        _describe(config)
    else:
        train(config)


def train(config: Config) -> None:
    from evaluation.images.validation import make_validation_metrics
    from runtime.runs import model_source
    from vision_module.denoiser_run import train_denoiser
    from vision_module.unet import build_unet, load_unet

    source = config.model.init_from
    if source:
        source = model_source(source, "clipSD", "--init-from")

    def build(channels: int, side: int, width: int, num_tokens: int) -> "UNet2DConditionModel":
        # Cross-attention takes any number of tokens.
        return (
            load_unet(source, channels, side, width)
            if source
            else build_unet(config.model, channels, side, width)
        )

    metrics = make_validation_metrics(config.scores.score_classifier)
    train_denoiser(config, "clipSD", build, config.lora, source, metrics)


def _describe(config: Config) -> None:
    from diffusers import UNet2DConditionModel

    from vision_module.denoiser_run import describe_denoiser
    from vision_module.unet import SD1_UNET, build_unet

    source = config.model.init_from

    def sketch(channels: int, side: int, width: int, num_tokens: int) -> UNet2DConditionModel:
        if not source:
            return build_unet(config.model, channels, side, width)
        return UNet2DConditionModel(sample_size=side, **SD1_UNET)  # stands for what a hub has

    # The size of a run that an earlier stage has yet to train is not known.
    known = not source or source.count("/") == 1
    describe_denoiser(config, sketch if known else None, frozen=config.lora.lora)


if __name__ == "__main__":
    run_script(main)
