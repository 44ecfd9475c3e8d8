"""From context to latents: fast solvers of the trained diffusion, with classifier-free guidance."""

import sys
from collections.abc import Callable, Sequence

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import nn

# Deterministic solvers only: the noise at the start decides the film. The multistep ones take steps that are
# even in log-SNR (Lu et al., DPM-Solver, 2022, sec. 3.4). Steps even in time end far from the film, and the
# jump from there gives the mean of what it could be: of an exact denoiser's normal distribution 15 of them
# leave 83% of the deviation, where these leave all of it.
EVEN_IN_LOG_SNR = "use_exponential_sigmas"  # diffusers' name: sigma falls by a factor
SOLVERS = {
    "dpm-solver++": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, EVEN_IN_LOG_SNR: True},
    ),
    "ddim": (DDIMScheduler, {"set_alpha_to_one": False}),
    "pndm": (
        PNDMScheduler,
        {"skip_prk_steps": True, "set_alpha_to_one": False, "timestep_spacing": "leading"},
    ),
    "unipc": (UniPCMultistepScheduler, {EVEN_IN_LOG_SNR: True}),
    "euler": (EulerDiscreteScheduler, {}),
    # Of students alone (`vision_module.distillation`): the even steps that they were trained to take.
    "few-step": (DDIMScheduler, {"timestep_spacing": "trailing", "set_alpha_to_one": True}),
}

# Of an exact denoiser's normal distribution 8 steps even in log-SNR keep all of the deviation, 4 keep 84%;
# even in time 8 keep 94% with flow matching (6: 86%) and 68% with a zero terminal SNR, 15 all and 82%.
ENOUGH_WITH_FLOW, ENOUGH_WITH_ZERO_SNR = 8, 15

# Of flow matching's straight paths, whose steps are even in time. Heun calls the denoiser twice a step.
_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
FLOW_SOLVERS = {
    "dpm-solver++": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, **_FLOW},
    ),
    "unipc": (UniPCMultistepScheduler, _FLOW),
    "euler": (FlowMatchEulerDiscreteScheduler, {}),
    "heun": (FlowMatchHeunDiscreteScheduler, {}),
    "few-step": (FlowMatchEulerDiscreteScheduler, {}),
}


def make_solver(
    name: str, schedule: DDPMScheduler | FlowMatchEulerDiscreteScheduler, num_inference_steps: int
):
    """A sampler over the training schedule, set to the number of steps.

    Raises:
        ValueError: an unknown name, or one that does not know the schedule.
    """
    flow = isinstance(schedule, FlowMatchEulerDiscreteScheduler)
    solvers = FLOW_SOLVERS if flow else SOLVERS
    if name not in solvers:
        what = " of a model trained with --prediction-type flow" if flow else ""
        raise ValueError(f"--solver {name!r}: choose one of {', '.join(solvers)}{what}")
    solver_class, options = solvers[name]
    if flow:
        solver = solver_class(num_train_timesteps=schedule.config["num_train_timesteps"], **options)
        if name == "few-step":  # its own steps end just short of the film, and take one to go there
            solver.set_timesteps(sigmas=[1 - k / num_inference_steps for k in range(num_inference_steps)])
        else:
            solver.set_timesteps(num_inference_steps)
        return solver
    if name == "pndm" and schedule.config["rescale_betas_zero_snr"]:
        raise ValueError("--solver pndm cannot start from a zero terminal SNR: choose another")
    # Trailing steps start at the last noise level, where the noise is pure (Lin et al., 2024, sec. 3.3).
    options = {"timestep_spacing": "trailing", **options}
    if schedule.config["rescale_betas_zero_snr"] and EVEN_IN_LOG_SNR in options:
        # The logarithm of no signal would take most of the steps. Leaving the first at pure noise and making
        # the others even from a noise of 10 signals on suits the exact denoiser; but films of a model trained
        # on real ones came out more alike (docs/results.md).
        options[EVEN_IN_LOG_SNR] = False
    solver = solver_class.from_config(schedule.config, **options)
    solver.set_timesteps(num_inference_steps)
    return solver


def warn_of_few_steps(
    name: str, schedule: DDPMScheduler | FlowMatchEulerDiscreteScheduler, num_inference_steps: int
) -> None:
    """Say so where films come out too smooth: steps even in time, and fewer than are enough."""
    if isinstance(schedule, FlowMatchEulerDiscreteScheduler):
        kind, enough = "flow matching", ENOUGH_WITH_FLOW
    elif schedule.config["rescale_betas_zero_snr"]:
        kind, enough = "a zero terminal SNR", ENOUGH_WITH_ZERO_SNR
    else:
        return
    if name != "few-step" and num_inference_steps < enough:
        print(
            f"warning: --num-inference-steps {num_inference_steps}: steps of a model trained with {kind} "
            f"are even in time, and so few make films too smooth: pass {enough} or more",
            file=sys.stderr,
        )


def draw_noise(generators: Sequence[torch.Generator], shape: tuple[int, ...]) -> torch.Tensor:
    """Starting noise (B, *shape), each item from its own generator, drawn on the CPU for any device."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def left_timesteps(solver, strength: float) -> tuple[torch.Tensor, int]:
    """The timesteps that a solver takes from the noise level of `strength` on, and how many it skips.

    Args:
        strength: share of the steps that are taken, in (0, 1].

    Raises:
        ValueError: no step is left.
    """
    # PNDM takes its second step twice (it warms up on it). Others may have steps that round to one timestep.
    warms_up = isinstance(solver, PNDMScheduler)
    levels = torch.unique_consecutive(solver.timesteps) if warms_up else solver.timesteps
    if twice := isinstance(solver, FlowMatchHeunDiscreteScheduler):  # each but the first stands there twice
        levels = solver.timesteps[::2]
    count = int(round(len(levels) * strength, 6))
    if not count:
        raise ValueError(f"--strength {strength} of {len(levels)} steps leaves no step: raise either")
    if twice:
        return solver.timesteps[1 - 2 * count :], len(solver.timesteps) - (2 * count - 1)
    timesteps = levels[-count:]
    if warms_up:
        timesteps = torch.cat([timesteps[:2], timesteps[1:]])
    return timesteps, len(levels) - count


def start_from(
    solver, latents: torch.Tensor, noise: torch.Tensor, strength: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise latents (B, C, H, W) to the level of `strength` (SDEdit, Meng et al., ICLR 2022).

    Returns:
        The noised latents in the solver's own scale, and the timesteps that are left.
    """
    timesteps, skipped = left_timesteps(solver, strength)
    if hasattr(solver, "set_begin_index"):
        solver.set_begin_index(skipped)
    if isinstance(solver, FlowMatchEulerDiscreteScheduler | FlowMatchHeunDiscreteScheduler):
        # Straight paths: no table is needed.
        level = timesteps[0].item() / solver.config["num_train_timesteps"]
        return (1.0 - level) * latents + level * noise, timesteps
    return solver.add_noise(latents, noise, timesteps[:1].expand(len(latents))), timesteps


def estimate_clean(
    solver, noised: torch.Tensor, prediction: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """What the denoiser takes the clean latents (B, C, H, W) to be, from what it was given and what it said.

    Flow: SiT, eq. 2 and 9. Velocity: Salimans and Ho, 2022, appendix D. Noise: DDIM, eq. 9.

    Args:
        timestep: one number; on the CPU it lets nothing wait for the device.
    """
    kind = solver.config.get("prediction_type", "flow_prediction")  # the flow solvers know no other
    if kind == "flow_prediction":
        return noised - timestep / solver.config.num_train_timesteps * prediction
    signal = solver.alphas_cumprod[timestep.long().cpu()].to(noised.dtype)
    if kind == "v_prediction":
        return signal.sqrt() * noised - (1.0 - signal).sqrt() * prediction
    return (noised - (1.0 - signal).sqrt() * prediction) / signal.sqrt()


def predict(
    denoiser: nn.Module,
    inputs: torch.Tensor,
    timestep: torch.Tensor,
    context: torch.Tensor,
    null_context: torch.Tensor,
    guidance_scale: float,
    **student: torch.Tensor,
) -> torch.Tensor:
    """The denoiser's output (B, C, H, W) under guidance, see `denoise`; a scale of 1 takes one pass."""
    if guidance_scale == 1.0:
        output = denoiser(inputs, timestep, encoder_hidden_states=context, **student)
        return output.sample.to(inputs.dtype)
    both = torch.cat([null_context.expand_as(context), context])
    output = denoiser(torch.cat([inputs, inputs]), timestep, encoder_hidden_states=both)
    null, conditional = output.sample.to(inputs.dtype).chunk(2)
    return null + guidance_scale * (conditional - null)


@torch.no_grad()
def denoise(
    denoiser: nn.Module,
    solver,
    noise: torch.Tensor,
    context: torch.Tensor,
    null_context: torch.Tensor,
    guidance_scale: float,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    start: torch.Tensor | None = None,
    strength: float = 1.0,
    guidance_input: torch.Tensor | None = None,
    on_step: Callable[[torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Latents (B, C, H, W) from noise (B, C, H, W) under the context (B, T, D); null context (1 or B, T, D).

    Classifier-free guidance (Ho and Salimans, 2022): null + scale * (conditional - null); a scale of 1 is
    the conditional model and skips the null's forward pass, and so does a step outside the interval.

    Args:
        guidance_interval: noise levels at which guidance acts (Kynkäänniemi et al., 2024), as shares of
            the training timesteps: 0 is the film, 1 pure noise; both ends belong to it.
        start: latents (B, C, H, W) to start from, noised to the level of `strength`; None starts from noise.
        guidance_input: (B, D), a student's input in the place of the scale: one pass a step.
        on_step: is shown, after each step, what the clean latents (B, C, H, W) would be by now.
    """
    student = {} if guidance_input is None else {"timestep_cond": guidance_input}
    if start is None:
        latents, timesteps = noise * getattr(solver, "init_noise_sigma", 1.0), solver.timesteps
        if hasattr(solver, "set_begin_index"):  # else looked up by the timestep, which may stand twice
            solver.set_begin_index(0)
    else:
        latents, timesteps = start_from(solver, start, noise, strength)
    num_timesteps = solver.config.num_train_timesteps
    # PNDM and the multistep solvers keep state: a fresh one for each batch.
    low, high = guidance_interval
    # The host's copy decides, so that no step waits for the device.
    for level, timestep in zip(timesteps.tolist(), timesteps.to(noise.device), strict=True):
        guided = not student and guidance_scale != 1.0 and low <= level / num_timesteps <= high
        scale = getattr(solver, "scale_model_input", None)  # which the flow solvers have no need of
        inputs = scale(latents, timestep) if scale else latents
        prediction = predict(
            denoiser, inputs, timestep, context, null_context, guidance_scale if guided else 1.0, **student
        )
        latents = solver.step(prediction, timestep, latents, return_dict=False)[0]
        if on_step:
            on_step(estimate_clean(solver, inputs, prediction, timestep))
    return latents
