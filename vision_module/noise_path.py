"""Noise levels of a schedule, and the way along them from noise to film in a few or in many steps.

A latent at timestep t is alpha(t) * film + sigma(t) * noise, with betas as on flow matching's straight paths.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from vision_module.diffusion import NUM_TIMESTEPS, Schedule

Predict = Callable[[torch.Tensor, float], torch.Tensor]


class NoisePath:
    """The levels of one schedule, from pure noise to `end`, the film itself.

    Attributes:
        end: timestep of the film: -1 with betas, as in diffusers' solvers; 0 with flow.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.is_flow = isinstance(schedule, FlowMatchEulerDiscreteScheduler)
        self.prediction_type = "flow" if self.is_flow else schedule.config["prediction_type"]
        self.end = 0 if self.is_flow else -1
        self._signal = torch.empty(0)  # (1000,) squared alphas, with betas
        if not isinstance(schedule, FlowMatchEulerDiscreteScheduler):
            self._signal = schedule.alphas_cumprod

    def stops(self, num_evaluations: int) -> list[float]:
        """Timesteps of that many even steps and their end: as of diffusers' DDIM, trailing, and Euler."""
        places = [NUM_TIMESTEPS * k / num_evaluations for k in range(num_evaluations, -1, -1)]
        return places if self.is_flow else [round(place) - 1 for place in places]

    def fine_steps(self, num_steps: int, stops: Sequence[float]) -> list[float]:
        """`num_steps` timesteps that pass through the stops: even in log-SNR, or in time where the schedule
        begins with pure noise; the nearest to each stop is moved onto it.

        Raises:
            ValueError: too few steps for so many stops.
        """
        if self.is_flow or self._signal[-1] <= 0:
            steps = self.stops(num_steps)[:-1]
        else:
            noise = ((1 - self._signal) / self._signal).log()
            wanted = torch.linspace(float(noise[-1]), float(noise[0]), num_steps)
            steps = (noise[None] - wanted[:, None]).abs().argmin(dim=1).tolist()
        for stop in stops[:-1]:
            nearest = min(range(len(steps)), key=lambda place: abs(steps[place] - stop))
            steps[nearest] = stop
        steps = sorted(set(steps), reverse=True)
        if not {*stops[:-1]} <= {*steps} or steps[0] != stops[0]:
            raise ValueError(f"--teacher-steps {num_steps}: too few to pass through {len(stops) - 1} stops")
        return steps

    def levels(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Timesteps (B,) -> alpha and sigma, (B, 1, 1, 1) each."""
        if self.is_flow:
            sigma = timesteps.float() / NUM_TIMESTEPS
            alpha = 1.0 - sigma
        else:
            signal = self._signal.to(timesteps.device)[timesteps.long().clamp(min=0)]
            signal = torch.where(timesteps < 0, torch.ones_like(signal), signal)
            alpha, sigma = signal.sqrt(), (1.0 - signal).sqrt()
        return alpha[:, None, None, None], sigma[:, None, None, None]

    def split(
        self, output: torch.Tensor, sample: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The film and the noise, (B, C, H, W) each, that a denoiser's output says the sample is made of."""
        alpha, sigma = self.levels(timesteps)
        if self.prediction_type == "flow":
            return sample - sigma * output, sample + alpha * output
        if self.prediction_type == "v_prediction":
            return alpha * sample - sigma * output, sigma * sample + alpha * output
        return (sample - sigma * output) / alpha, output

    def jump(
        self, output: torch.Tensor, sample: torch.Tensor, start: torch.Tensor, end: torch.Tensor
    ) -> torch.Tensor:
        """Where one evaluation at `start` leads at `end`, timesteps (B,) each: a step of DDIM or Euler."""
        film, noise = self.split(output, sample, start)
        alpha, sigma = self.levels(end)
        return alpha * film + sigma * noise

    def jump_width(self, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        """(B, 1, 1, 1): how far a jump lands from the mark for an error of 1 of the velocity."""
        (alpha, sigma), (end_alpha, end_sigma) = self.levels(start), self.levels(end)
        return end_alpha * sigma - alpha * end_sigma

    def trace(
        self, predict: Predict, noise: torch.Tensor, steps: Sequence[float], stops: Sequence[float]
    ) -> torch.Tensor:
        """The states (B, len(stops), C, H, W) at the stops of a path from noise, the film at last.

        DPM-Solver++(2M) (Lu et al., 2022, algorithm 2): diffusers' own cannot be sent through given levels on
        straight paths.

        Args:
            predict: (sample, timestep) -> the denoiser's output, guided.
            steps: `fine_steps` of these stops.
        """
        sample, states, film_before, log_snrs = noise, [noise], None, []
        for step, following in pairwise([*steps, stops[-1]]):
            here, there = (torch.full((len(noise),), at, device=noise.device) for at in (step, following))
            (alpha, sigma), (next_alpha, next_sigma) = self.levels(here), self.levels(there)
            film, _ = self.split(predict(sample, step), sample, here)
            mean, log_snr = film, (alpha / sigma).log()
            if film_before is not None and following != stops[-1]:
                ahead = (next_alpha / next_sigma).log() - log_snr
                mean = film + 0.5 * ahead / (log_snr - log_snrs[-1]) * (film - film_before)
            sample = next_sigma / sigma * sample + (next_alpha - next_sigma * alpha / sigma) * mean
            film_before = film
            log_snrs.append(log_snr)
            if following in stops:
                states.append(sample)
        return torch.stack(states, dim=1)
