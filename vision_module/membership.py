"""Denoising losses of single films at fixed noise levels and noises, for membership inference."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data_module.images import load_images
from data_module.sampling_plan import PlannedPair
from vision_module.autoencoder import encode_films
from vision_module.editing import Levels, make_levels
from vision_module.pipeline import VisionModel
from vision_module.sampling import estimate_clean

Measure = Callable[[Sequence[Path], Sequence[PlannedPair]], np.ndarray]


def make_measure(vision: VisionModel, num_levels: int, num_draws: int, seed: int) -> tuple[Measure, Levels]:
    """Films and what they would be asked for by -> losses (B, num_levels), noisiest level first.

    A loss is the mean squared error of the clean latents as the denoiser takes them to be, without guidance;
    at one level it is the training loss times a constant. All films get the same noises, so that a loss
    depends on its film alone.

    Raises:
        ValueError: no level or no noise, or a student, whose steps are no estimates of the clean latents.
    """
    if vision.few_step:
        raise ValueError("--vision is a student of distill_diffusion.py: audit its teacher")
    levels = make_levels(vision.scheduler, num_levels, 1.0)
    generator = torch.Generator().manual_seed(seed)
    noises = torch.randn((num_levels, num_draws, *vision.latent_shape), generator=generator)
    device = vision.prompts.device

    @torch.inference_mode()
    def measure(films: Sequence[Path], plan: Sequence[PlannedPair]) -> np.ndarray:
        latents, _ = encode_films(vision.autoencoder, load_images(films, vision.image_size).to(device))
        latents, references = latents.float(), None
        if vision.prompts.fusion != "text":
            known = [pair.reference for pair in plan if pair.reference is not None]
            references = load_images(known, vision.prompts.reference_size)
        context = vision.prompts.encode([pair.prompt for pair in plan], references)
        losses = torch.stack(
            [
                torch.stack([_loss(vision, latents, context, levels, level, noise) for noise in draws]).mean(
                    0
                )
                for level, draws in enumerate(noises.to(device))
            ]
        )
        return losses.T.cpu().numpy()

    return measure, levels


def _loss(
    vision: VisionModel,
    latents: torch.Tensor,
    context: torch.Tensor,
    levels: Levels,
    level: int,
    noise: torch.Tensor,
) -> torch.Tensor:
    """(B,) of latents (B, C, H, W) at one noise (C, H, W)."""
    timestep = levels.timesteps[level].to(latents.device)
    if timestep.is_floating_point():
        timestep = timestep.to(latents.dtype)
    noised = levels.signal[level].item() * latents + levels.noise[level].item() * noise
    output = vision.denoiser(noised, timestep, encoder_hidden_states=context).sample
    clean = estimate_clean(vision.scheduler, noised, output.float(), timestep)
    return (clean - latents).square().mean(dim=(1, 2, 3))


def measure_films(
    measure: Measure, films: Sequence[Path], plan: Sequence[PlannedPair], batch_size: int, name: str
) -> np.ndarray:
    """(N, num_levels) losses, batch by batch."""
    starts = tqdm(range(0, len(films), batch_size), desc=name, unit="batch")
    parts = (slice(start, start + batch_size) for start in starts)
    return np.concatenate([measure(films[part], plan[part]) for part in parts])
