"""Edits of a film's latents: the diffusion's noise is inverted, and drawn again under another text.

Edit-friendly inversion of DDPM (Huberman-Spiegelglas et al., CVPR 2024): the noised latents of all levels are
drawn independently of each other, and the noise of every step is what leads from one to the next. Drawn again
under the same text the film comes back exactly; under another, that noise keeps its anatomy. With a mask, the
latents outside it are those of the inverted path after each step (RadEdit, Perez-Garcia et al., 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn
from torch.nn import functional as F

from vision_module.diffusion import Schedule
from vision_module.sampling import estimate_clean, predict


@dataclass(frozen=True)
class Levels:
    """Noise levels of S steps, from the noisiest: `timesteps` (S,), and shares of `signal` and `noise`
    (S + 1,) float64, whose last are the clean latents' (1 and 0)."""

    timesteps: torch.Tensor
    signal: torch.Tensor
    noise: torch.Tensor


@dataclass(frozen=True)
class Inversion:
    """A film's noised latents `path` (S + 1, B, C, H, W), the last of them clean, and the noise of each step
    `residuals` (S, B, C, H, W), already at its strength."""

    levels: Levels
    path: torch.Tensor
    residuals: torch.Tensor


@dataclass(frozen=True)
class Guide:
    """What a step is drawn under: context (B, T, D), null context (1 or B, T, D) and guidance scale."""

    context: torch.Tensor
    null_context: torch.Tensor
    scale: float


def make_levels(schedule: Schedule, num_steps: int, strength: float) -> Levels:
    """The levels of the last `strength` (0 to 1) of that many steps, even in time.

    Raises:
        ValueError: no step is left, or more steps than the schedule has.
    """
    count, total = int(round(num_steps * strength, 6)), schedule.config["num_train_timesteps"]
    if not count or num_steps > total:
        raise ValueError(
            f"--strength {strength} of --num-inference-steps {num_steps}: 1 to {total} steps must be left"
        )
    times = total * torch.arange(count, 0, -1, dtype=torch.float64) / num_steps
    if isinstance(schedule, FlowMatchEulerDiscreteScheduler):  # straight paths
        timesteps, noise = times, times / total
        signal = 1.0 - noise
    else:
        timesteps = times.round().long() - 1
        alphas = schedule.alphas_cumprod.double()[timesteps]
        signal, noise = alphas.sqrt(), (1.0 - alphas).sqrt()
    return Levels(timesteps, F.pad(signal, (0, 1), value=1.0), F.pad(noise, (0, 1), value=0.0))


@torch.no_grad()
def invert(
    denoiser: nn.Module,
    schedule: Schedule,
    latents: torch.Tensor,
    draws: torch.Tensor,
    levels: Levels,
    guide: Guide,
) -> Inversion:
    """The noise that leads to these latents (B, C, H, W) under a text.

    Args:
        draws: (S, B, C, H, W) standard normal.
    """
    mean_of_next = _make_step(denoiser, schedule, levels, guide, latents)
    signal, noise = (share.tolist() for share in (levels.signal, levels.noise))
    path = [signal[step] * latents + noise[step] * draws[step] for step in range(len(draws))] + [latents]
    residuals = [path[step + 1] - mean_of_next(path[step], step) for step in range(len(draws))]
    return Inversion(levels, torch.stack(path), torch.stack(residuals))


@torch.no_grad()
def redraw(
    denoiser: nn.Module,
    schedule: Schedule,
    inversion: Inversion,
    guide: Guide,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Latents (B, C, H, W) drawn under another text from the noise of an inversion.

    Args:
        mask: (B, 1, H, W) bool, True where the film may change; elsewhere the latents come back as they were.
    """
    latents = inversion.path[0]
    mean_of_next = _make_step(denoiser, schedule, inversion.levels, guide, latents)
    for step, residual in enumerate(inversion.residuals):
        latents = residual + mean_of_next(latents, step)
        if mask is not None:
            latents = torch.where(mask, latents, inversion.path[step + 1])
    return latents


def _make_step(
    denoiser: nn.Module, schedule: Schedule, levels: Levels, guide: Guide, latents: torch.Tensor
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """(noised latents, step) -> mean of the next ones (DDIM, eq. 12, with DDPM's deviation).

    Args:
        latents: of the type and on the device that all steps have: what a step needs goes there before the
            first, so that none waits for the device.
    """
    timesteps = levels.timesteps
    if timesteps.is_floating_point():
        timesteps = timesteps.to(latents.dtype)
    device_timesteps = timesteps.to(latents.device)
    signals, noises = levels.signal.tolist(), levels.noise.tolist()

    def mean_of_next(noised: torch.Tensor, step: int) -> torch.Tensor:
        timestep = device_timesteps[step]
        output = predict(denoiser, noised, timestep, guide.context, guide.null_context, guide.scale)
        clean = estimate_clean(schedule, noised, output, timesteps[step])
        (signal, next_signal), (noise, next_noise) = signals[step : step + 2], noises[step : step + 2]
        added = noise**2 - (signal / next_signal * next_noise) ** 2  # variance between the two levels
        kept = next_noise**2 * max(1.0 - added / noise**2, 0.0)  # what is not drawn anew
        return next_signal * clean + kept**0.5 * (noised - signal * clean) / noise

    return mean_of_next


def shrink_mask(mask: torch.Tensor, side: int) -> torch.Tensor:
    """Masks of films (B, S, S) bool -> of latents (B, 1, side, side) bool: cells that any pixel touches."""
    return F.adaptive_max_pool2d(mask[:, None].float(), side) > 0
