"""The diffusion objective, one for both backbones, for training and for validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import DDPMScheduler
from torch import nn

from vision_module.prompting import Fusion, fuse


@dataclass(frozen=True)
class DiffusionConfig:
    """Noise schedule and prompting of a denoiser."""

    prediction_type: Literal["epsilon", "v_prediction"] = "v_prediction"
    """What the denoiser predicts: the noise (SD 1.4) or the velocity (Salimans and Ho, 2022)."""
    beta_start: float = 0.00085
    """First beta of the scaled-linear schedule (Stable Diffusion's values)."""
    beta_end: float = 0.012
    """Last beta."""
    fusion: Fusion = "mean"
    """Text and reference: concat (a further token), mean (of the pooled two) or text alone."""
    text_tokens: Literal["all", "pooled"] = "pooled"
    """Context from all text tokens or from the pooled one."""
    drop_prompt: float = 0.1
    """Share of items trained without text and reference, so that guidance has a trained null."""
    drop_reference: float = 0.1
    """Share of the other items trained without reference, so that text alone works too."""


def make_scheduler(config: DiffusionConfig) -> DDPMScheduler:
    """The training schedule; samplers are made from its config."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        prediction_type=config.prediction_type,
        clip_sample=False,
        steps_offset=1,
    )


def make_objective(
    config: DiffusionConfig, null_text: torch.Tensor
) -> Callable[[nn.Module, dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]]:
    """The denoising loss (Ho et al., 2020, eq. 14; v-prediction as Salimans and Ho, 2022).

    Args:
        null_text: (1, L, D), the encoding of the empty sentence.

    Returns:
        objective(model, batch, generator), where batch has `latents_mean` and `latents_std` (B, C, H, W),
        `text` (B, L, D) and `reference` (B, D).
    """
    scheduler = make_scheduler(config)

    def objective(
        model: nn.Module, batch: dict[str, torch.Tensor], generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        mean, std = batch["latents_mean"].float(), batch["latents_std"].float()
        size, device = mean.shape[0], mean.device

        def uniform() -> torch.Tensor:
            return torch.rand(size, generator=generator, device=device)

        latents = mean + std * torch.randn(mean.shape, generator=generator, device=device)
        noise = torch.randn(mean.shape, generator=generator, device=device)
        num_timesteps = scheduler.config.num_train_timesteps
        # Stratified over the batch: each item from a slice of its own, which lowers the loss's variance.
        slices = (torch.arange(size, device=device) + uniform()) / size
        timesteps = (slices * num_timesteps).long().clamp(max=num_timesteps - 1)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        target = noise
        if config.prediction_type == "v_prediction":
            target = scheduler.get_velocity(latents, noise, timesteps)
        dropped = uniform() < config.drop_prompt
        keep = ~dropped & (uniform() >= config.drop_reference)
        text = torch.where(dropped[:, None, None], null_text.to(mean), batch["text"].float())
        context = fuse(text, batch["reference"].float(), config.fusion, keep)
        prediction = model(noisy, timesteps, encoder_hidden_states=context).sample
        return {"loss": (prediction.float() - target).square().mean()}

    return objective
