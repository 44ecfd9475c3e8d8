"""From context to latents: fast solvers of the trained diffusion, with classifier-free guidance."""

from collections.abc import Sequence

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import nn

# Deterministic solvers only: the noise at the start decides the film.
SOLVERS = {
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "ddim": (DDIMScheduler, {"set_alpha_to_one": False}),
    "pndm": (
        PNDMScheduler,
        {"skip_prk_steps": True, "set_alpha_to_one": False, "timestep_spacing": "leading"},
    ),
    "unipc": (UniPCMultistepScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
}


def make_solver(name: str, schedule: DDPMScheduler, num_inference_steps: int):
    """A sampler over the training schedule, set to the number of steps.

    Raises:
        ValueError: an unknown name, or one that does not know the schedule.
    """
    if name not in SOLVERS:
        raise ValueError(f"--solver {name!r}: choose one of {', '.join(SOLVERS)}")
    solver_class, options = SOLVERS[name]
    if name == "pndm" and schedule.config.rescale_betas_zero_snr:
        raise ValueError("--solver pndm cannot start from a zero terminal SNR: choose another")
    # Trailing steps start at the last noise level, where the noise is pure (Lin et al., 2024, sec. 3.3).
    options = {"timestep_spacing": "trailing", **options}
    solver = solver_class.from_config(schedule.config, **options)
    solver.set_timesteps(num_inference_steps)
    return solver


def draw_noise(generators: Sequence[torch.Generator], shape: tuple[int, ...]) -> torch.Tensor:
    """Starting noise (B, *shape), each item from its own generator, drawn on the CPU for any device."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


@torch.no_grad()
def denoise(
    denoiser: nn.Module,
    solver,
    noise: torch.Tensor,
    context: torch.Tensor,
    null_context: torch.Tensor,
    guidance_scale: float,
) -> torch.Tensor:
    """Latents (B, C, H, W) from noise (B, C, H, W) under the context (B, T, D).

    Classifier-free guidance (Ho and Salimans, 2022): null + scale * (conditional - null); a scale of 1 is
    the conditional model and skips the null's forward pass.
    """
    latents = noise * solver.init_noise_sigma
    guided = guidance_scale != 1.0
    if guided:
        context = torch.cat([null_context, context])
    # PNDM and the multistep solvers keep state: a fresh one for each batch.
    for timestep in solver.timesteps.to(noise.device):
        inputs = solver.scale_model_input(latents, timestep)
        if guided:
            inputs = torch.cat([inputs, inputs])
        prediction = denoiser(inputs, timestep, encoder_hidden_states=context).sample.float()
        if guided:
            null, conditional = prediction.chunk(2)
            prediction = null + guidance_scale * (conditional - null)
        latents = solver.step(prediction, timestep, latents, return_dict=False)[0]
    return latents
