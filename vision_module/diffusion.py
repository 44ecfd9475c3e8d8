"""The diffusion objective, one for every denoiser, for training and for validation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import nn

from vision_module.config import DiffusionConfig, Fusion, TextTokens
from vision_module.encoders import encode_tokens
from vision_module.prompting import Prompts, fuse

NUM_TIMESTEPS = 1000


Schedule = DDPMScheduler | FlowMatchEulerDiscreteScheduler


def make_scheduler(config: DiffusionConfig) -> Schedule:
    """The training schedule; samplers are made from its config.

    Raises:
        ValueError: settings that have no value or no meaning together.
    """
    flow = config.prediction_type == "flow"
    if config.time_sampling != "uniform" and not flow:
        raise ValueError(f"--time-sampling {config.time_sampling} needs --prediction-type flow")
    if flow and config.min_snr_gamma:
        raise ValueError("--min-snr-gamma has no meaning with --prediction-type flow: see --time-sampling")
    if config.zero_terminal_snr and config.prediction_type != "v_prediction":
        raise ValueError(
            "--zero-terminal-snr needs --prediction-type v_prediction: at pure noise, the noise says nothing "
            "of the film, and flow always ends in pure noise"
        )
    if config.zero_terminal_snr and config.min_snr_gamma:
        raise ValueError("--min-snr-gamma weighs pure noise with 0: it cannot go with --zero-terminal-snr")
    if config.prediction_type == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=NUM_TIMESTEPS)
    return DDPMScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_schedule=config.beta_schedule,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        prediction_type=config.prediction_type,
        rescale_betas_zero_snr=config.zero_terminal_snr,
        timestep_spacing="trailing" if config.zero_terminal_snr else "leading",
        clip_sample=False,
        steps_offset=1,
    )


def loss_weights(config: DiffusionConfig, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Weight of each timestep's squared error (1000,): min-SNR (Hang et al., 2023, eq. 6 and sec. 3.4).

    The weight of the error of the clean latents is min(SNR, gamma); the noise's error is SNR times that
    error, the velocity's SNR + 1 times.
    """
    if not config.min_snr_gamma:
        return torch.ones_like(alphas_cumprod)
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    clipped = snr.clamp(max=config.min_snr_gamma)
    return clipped / (snr + 1.0 if config.prediction_type == "v_prediction" else snr)


@dataclass(frozen=True)
class Noised:
    """Latents at a noise level: `sample` (B, C, H, W), `timesteps` (B,) in 0..1000, the `target` of the
    denoiser (B, C, H, W), and the `weights` (B,) of its squared errors."""

    sample: torch.Tensor
    timesteps: torch.Tensor
    target: torch.Tensor
    weights: torch.Tensor


def make_noising(config: DiffusionConfig) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Noised]:
    """(latents, noise, places (B,) in [0, 1)) -> the noised latents; places are uniform draws."""
    scheduler = make_scheduler(config)

    def interpolate(latents: torch.Tensor, noise: torch.Tensor, places: torch.Tensor) -> Noised:
        """Straight paths (SiT, eq. 2 with alpha = 1 - t, sigma = t) and their velocity (eq. 9)."""
        if config.time_sampling == "logit-normal":
            places = torch.special.ndtri(places.clamp(1e-4, 1.0 - 1e-4)).sigmoid()
        sigma = places[:, None, None, None]
        sample = (1.0 - sigma) * latents + sigma * noise
        return Noised(sample, places * NUM_TIMESTEPS, noise - latents, torch.ones_like(places))

    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return interpolate
    weights = cache(loss_weights(config, scheduler.alphas_cumprod).to)  # a device's copy is made once

    def add_noise(latents: torch.Tensor, noise: torch.Tensor, places: torch.Tensor) -> Noised:
        timesteps = (places * NUM_TIMESTEPS).long().clamp(max=NUM_TIMESTEPS - 1)
        target = noise
        if config.prediction_type == "v_prediction":
            target = scheduler.get_velocity(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        # diffusers annotates IntTensor, which torch's own operations never give.
        sample = scheduler.add_noise(latents, noise, timesteps)  # pyright: ignore[reportArgumentType]
        return Noised(sample, timesteps, target, weights(latents.device)[timesteps])

    return add_noise


class PromptedDenoiser(nn.Module):
    """A denoiser behind its text encoder, for texts that no cache holds: drawn anew, or encoded anew."""

    fusion: Fusion
    text_tokens: TextTokens

    def __init__(self, denoiser: nn.Module, prompts: Prompts) -> None:
        super().__init__()
        self.denoiser, self.text_encoder = denoiser, prompts.text_encoder
        self.fusion, self.text_tokens = prompts.fusion, prompts.text_tokens

    def train(self, mode: bool = True) -> "PromptedDenoiser":
        """A frozen text encoder stays as it samples: without dropout."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.text_encoder.parameters()):
            self.text_encoder.eval()
        return self

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        token_ids: torch.Tensor,
        reference: torch.Tensor | None,
        keep: torch.Tensor,
    ):
        """Denoiser's output for noisy latents (B, C, H, W), token ids (B, L) and reference (B, D).

        Args:
            keep: (B,) bool, False = this item has no reference.
        """
        states, pooled = encode_tokens(self.text_encoder, token_ids)
        text = states if self.text_tokens == "all" else pooled.unsqueeze(1)
        context = fuse(text.float(), reference, self.fusion, keep)
        return self.denoiser(sample, timestep, encoder_hidden_states=context)


def make_objective(
    config: DiffusionConfig, null_text: torch.Tensor, alignment_weight: float = 0.0
) -> Callable[[nn.Module, dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]]:
    """The denoising loss (Ho et al., 2020, eq. 14; v-prediction as Salimans and Ho, 2022; flow as SiT).

    Args:
        null_text: the empty sentence: encoded (1, L, D), or for a `PromptedDenoiser` its token ids (1, L).
        alignment_weight: of an `AlignedDenoiser`'s further loss, where batches have `features`.

    Returns:
        objective(model, batch, generator), where batch has `latents_mean` and `latents_std` (B, C, H, W),
        `text` (B, L, D) or `token_ids` (B, L), and, but with fusion `text`, `reference` (B, D).
    """
    noising = make_noising(config)
    null = cache(null_text.to)  # once for a device: a step must not wait for a copy

    def objective(
        model: nn.Module, batch: dict[str, torch.Tensor], generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        mean, std = batch["latents_mean"].float(), batch["latents_std"].float()
        size, device = mean.shape[0], mean.device

        def uniform() -> torch.Tensor:
            return torch.rand(size, generator=generator, device=device)

        latents = mean + std * torch.randn(mean.shape, generator=generator, device=device)
        noise = torch.randn(mean.shape, generator=generator, device=device)
        # Stratified over the batch: each item from a slice of its own, which lowers the loss's variance.
        noised = noising(latents, noise, (torch.arange(size, device=device) + uniform()) / size)
        dropped = uniform() < config.drop_prompt
        keep = ~dropped & (uniform() >= config.drop_reference)
        reference = batch["reference"].float() if "reference" in batch else None
        if "token_ids" in batch:
            token_ids = torch.where(dropped[:, None], null(device), batch["token_ids"])
            inputs = {"token_ids": token_ids, "reference": reference, "keep": keep}
        else:
            text = torch.where(dropped[:, None, None], null(device).float(), batch["text"].float())
            inputs = {"encoder_hidden_states": fuse(text, reference, config.fusion, keep)}
        if "features" in batch:
            inputs["features"] = batch["features"].float()
        output = model(noised.sample, noised.timesteps, **inputs)
        errors = (output.sample.float() - noised.target).square().mean(dim=(1, 2, 3))
        loss = (noised.weights * errors).mean()
        if "features" not in batch:
            return {"loss": loss}
        return {
            "loss": loss + alignment_weight * output.alignment,
            "denoising": loss,
            "alignment": output.alignment,
        }

    return objective
