"""Prompts to films: one object that holds the vision model and how it is asked to draw."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from data_module.decoding import read_one_film
from data_module.images import fit_crop, load_images, to_images
from data_module.spectrum import Spectrum
from runtime.devices import prefer_channels_last
from runtime.precision import settle_precision
from vision_module.autoencoder import decode_latents, encode_films
from vision_module.config import DrawingConfig
from vision_module.few_step import SOLVER, embed_guidance
from vision_module.pipeline import VisionModel
from vision_module.sampling import denoise, draw_noise, left_timesteps, make_solver


def check_latents(latents: torch.Tensor) -> torch.Tensor:
    """The latents (B, C, H, W), or ValueError where a value is not finite: the film would be black."""
    if not torch.isfinite(latents).all():
        raise ValueError(
            "the denoiser gave latents that are not finite: --guidance-scale is too large for it, "
            "--mixed-precision no may help, or the model is damaged"
        )
    return latents


class FilmSampler:
    """Draws latents and films; item by item a pure function of its prompt, its reference and its generator.

    Args:
        read_start: texts -> start latents (B, C, H, W), for `config.init_from`.

    Raises:
        ValueError: an unknown solver, or a strength that leaves it no step.
    """

    def __init__(
        self,
        vision: VisionModel,
        config: DrawingConfig,
        read_start: Callable[[Sequence[str]], torch.Tensor] | None = None,
    ) -> None:
        self.vision, self.config, self.read_start = vision, config, read_start
        self._check_student()
        self.device = vision.prompts.device
        self.precision = settle_precision(config.mixed_precision, self.device)
        if self.device.type == "cuda":
            vision.suit_gpu()
        else:  # the denoiser may be in training, whose bits a layout would change
            prefer_channels_last(vision.autoencoder)
        if config.compile:
            vision.compile()
        self._null_context: torch.Tensor | None = None
        self._film_start: torch.Tensor | None = None
        if config.init_film:
            film = fit_crop(read_one_film(config.init_film, "--init-film"), vision.image_size)
            images = to_images(film[None]).to(self.device)
            self._film_start = encode_films(vision.autoencoder, images)[0].float()
        self._spectrum = Spectrum.load(config.spectrum) if config.spectrum else None
        solver = self._make_solver()
        if (config.init_film or read_start) and config.strength:
            left_timesteps(solver, config.strength)

    def _check_student(self) -> None:
        """Raise ValueError where a student is asked to draw as others do, or another model as students do."""
        config, student = self.config, self.vision.few_step
        if student and config.solver != SOLVER:
            raise ValueError(
                f"--solver {config.solver}: the model was distilled to draw in few steps: "
                f"pass --solver {SOLVER} --num-inference-steps {student.num_evaluations}"
            )
        if student:
            student.check(config.num_inference_steps, config.guidance_scale, config.guidance_interval)
        elif config.solver == SOLVER:
            raise ValueError(f"--solver {SOLVER} is for students: distill one with distill_diffusion.py")

    def _guidance_input(self, size: int) -> torch.Tensor | None:
        """(B, D), the scale as a student's input; None for other models."""
        if not self.vision.few_step:
            return None
        return embed_guidance(torch.full((size,), self.config.guidance_scale, device=self.device))

    def _make_solver(self):
        return make_solver(self.config.solver, self.vision.scheduler, self.config.num_inference_steps)

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _load_references(self, paths: Sequence[Path | None]) -> torch.Tensor | None:
        known = [path for path in paths if path is not None]
        if len(known) < len(paths) or self.vision.prompts.fusion == "text":
            return None
        return load_images(known, self.vision.prompts.reference_size)

    def _start(self, prompts: Sequence[str]) -> torch.Tensor | None:
        if self._film_start is not None:
            return self._film_start.expand(len(prompts), -1, -1, -1)
        return self.read_start(prompts).float() if self.read_start else None

    @torch.no_grad()  # in inference mode autocast would cast the weights anew at every step
    def draw(
        self,
        prompts: Sequence[str],
        references: Sequence[Path | None],
        generators: Sequence[torch.Generator],
        on_step: Callable[[torch.Tensor], None] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (B, C, H, W) and images (B, 1, S, S) in [-1, 1]; one CPU generator an item.

        Args:
            on_step: see `denoise`.
        """
        config, vision = self.config, self.vision
        if not config.strength:
            latents = self._start(prompts)
            assert latents is not None, "DrawingConfig asks for a start"
            return latents, self._decode(latents)
        noise = draw_noise(generators, vision.latent_shape).to(self.device)
        with self.autocast():
            if self._null_context is None:  # once for all batches, in their precision
                self._null_context = vision.prompts.null_context()
            context = vision.prompts.encode(prompts, self._load_references(references))
            latents = denoise(
                vision.denoiser,
                self._make_solver(),
                noise,
                context,
                self._null_context,
                config.guidance_scale,
                config.guidance_interval,
                self._start(prompts),
                config.strength,
                self._guidance_input(len(noise)),
                on_step,
            )
            return latents, self._decode(latents)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, S, S) in [-1, 1]."""
        images = decode_latents(self.vision.autoencoder, check_latents(latents))
        if self._spectrum is None:
            return images
        with torch.autocast(self.device.type, enabled=False):  # no FFT is of bfloat16
            return self._spectrum.apply(images)
