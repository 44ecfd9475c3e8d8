"""The diffusion objective, one for every denoiser, for training and for validation."""

from collections.abc import Callable

import torch
from diffusers import DDPMScheduler
from torch import nn

from vision_module.config import DiffusionConfig
from vision_module.encoders import encode_tokens
from vision_module.prompting import Prompts, fuse


def make_scheduler(config: DiffusionConfig) -> DDPMScheduler:
    """The training schedule; samplers are made from its config.

    Raises:
        ValueError: a zero terminal SNR with a prediction or a weight that has no value there.
    """
    if config.zero_terminal_snr and config.prediction_type != "v_prediction":
        raise ValueError(
            "--zero-terminal-snr needs --prediction-type v_prediction: at pure noise, the noise says nothing "
            "of the film"
        )
    if config.zero_terminal_snr and config.min_snr_gamma:
        raise ValueError("--min-snr-gamma weighs pure noise with 0: it cannot go with --zero-terminal-snr")
    return DDPMScheduler(
        num_train_timesteps=1000,
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


class PromptedDenoiser(nn.Module):
    """A denoiser behind its text encoder, for texts that no cache holds: drawn anew, or encoded anew."""

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
    config: DiffusionConfig, null_text: torch.Tensor
) -> Callable[[nn.Module, dict[str, torch.Tensor], torch.Generator], dict[str, torch.Tensor]]:
    """The denoising loss (Ho et al., 2020, eq. 14; v-prediction as Salimans and Ho, 2022).

    Args:
        null_text: the empty sentence: encoded (1, L, D), or for a `PromptedDenoiser` its token ids (1, L).

    Returns:
        objective(model, batch, generator), where batch has `latents_mean` and `latents_std` (B, C, H, W),
        `text` (B, L, D) or `token_ids` (B, L), and, but with fusion `text`, `reference` (B, D).
    """
    scheduler = make_scheduler(config)
    weights = loss_weights(config, scheduler.alphas_cumprod)

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
        reference = batch["reference"].float() if "reference" in batch else None
        if "token_ids" in batch:
            token_ids = torch.where(dropped[:, None], null_text.to(device), batch["token_ids"])
            prediction = model(noisy, timesteps, token_ids, reference, keep).sample
        else:
            text = torch.where(dropped[:, None, None], null_text.to(mean), batch["text"].float())
            context = fuse(text, reference, config.fusion, keep)
            prediction = model(noisy, timesteps, encoder_hidden_states=context).sample
        errors = (prediction.float() - target).square().mean(dim=(1, 2, 3))
        return {"loss": (weights.to(device)[timesteps] * errors).mean()}

    return objective
