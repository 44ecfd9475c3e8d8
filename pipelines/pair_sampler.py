"""Pairs from prompts and reference films: a film by the vision model, its report by prior and codec."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from data_module.images import fit_crop, to_images, to_pixels
from data_module.sampling_plan import PlannedPair
from pipelines.config import SamplerConfig, WriterConfig
from runtime.devices import move, pick_device
from runtime.generators import make_generator
from runtime.processes import is_main
from runtime.runs import model_source
from runtime.weights import load_pretrained
from vision_module.config import DrawingConfig
from vision_module.denoiser_config import DENOISER_RUNS
from vision_module.film_sampler import FilmSampler
from vision_module.pipeline import VisionModel
from vision_module.prompting import Prompts
from vision_module.sampling import warn_of_few_steps


class PairSampler:
    """The models of a run, and the calls from a plan to pairs: prompt -> film -> report.

    Args:
        seed: of the noise; item i draws from (seed, i) alone.
    """

    def __init__(self, config: SamplerConfig, seed: int) -> None:
        self.config, self.seed, self.device = config, seed, pick_device()
        self.models = {"vision": model_source(config.vision, DENOISER_RUNS, "--vision")}
        vision = VisionModel.from_pretrained(self.models["vision"]).to(self.device)
        self.films = FilmSampler(vision, config.drawing, self._load_start(vision))
        if is_main():
            warn_of_few_steps(config.drawing.solver, vision.scheduler, config.drawing.num_inference_steps)
        if not config.films_only:
            self._load_language()

    def _load_start(self, vision: VisionModel) -> Callable[[Sequence[str]], torch.Tensor] | None:
        if not self.config.drawing.init_from:
            return None
        from prior_model.text_to_latent import TextToLatent

        folder = model_source(self.config.drawing.init_from, "text_to_latent", "--init-from")
        model = move(load_pretrained(TextToLatent, folder), self.device)
        shape = (model.config["latent_channels"], model.config["latent_size"], model.config["latent_size"])
        if shape != vision.latent_shape:
            raise ValueError(
                f"--init-from {folder}: latents {shape}, those of --vision are {vision.latent_shape}"
            )
        self.models["init_from"] = folder
        prompts = vision.prompts
        pooled = Prompts(prompts.text_encoder, prompts.tokenizer, None, None, "text", "pooled")
        return lambda texts: model(pooled.encode_texts(texts)[:, 0])

    def _load_language(self) -> None:
        # Late: films alone need not wait for what writes reports.
        from pipelines.report_writer import open_film_reader

        models = WriterConfig(model=self.config.prior, language=self.config.language)
        try:
            self.reader = open_film_reader(models, have_latents=True, flag="--prior")
        except ValueError as error:
            raise ValueError(f"{error}; --films-only draws films without reports") from None
        self.models |= dict(
            zip(("language", "prior", "encoder"), map(str, self.reader.folders), strict=False)
        )

    def with_drawing(self, drawing: DrawingConfig, seed: int) -> "PairSampler":
        """The same models, asked to draw in another way; `drawing.init_from` stays what it was."""
        other = copy.copy(self)
        other.seed = seed
        other.films = FilmSampler(self.films.vision, drawing, self.films.read_start)
        return other

    @torch.no_grad()
    def sample(
        self,
        items: Sequence[int],
        plan: Sequence[PlannedPair],
        number: int = 0,
        on_step: Callable[[torch.Tensor], None] | None = None,
    ) -> tuple[np.ndarray, list[str] | None]:
        """Films (B, S, S) uint8 and reports (None with --films-only) of these items: their draw `number`.

        Args:
            on_step: see `vision_module.sampling.denoise`.
        """
        again = (number,) if number else ()
        draws = [make_generator(self.seed, 2, item, *again) for item in items]
        prompts, references = [p.prompt for p in plan], [p.reference for p in plan]
        latents, images = self.films.draw(prompts, references, draws, on_step)
        pixels = to_pixels(images).cpu().numpy()
        if self.config.films_only:
            return pixels, None
        keys = [(self.seed, 3, item, *again) for item in items]
        return pixels, self.write_reports(latents, pixels, keys)

    @torch.no_grad()
    def write_reports(
        self, latents: torch.Tensor, pixels: np.ndarray, keys: Sequence[tuple[int, ...]]
    ) -> list[str]:
        """Reports of films; a sampled one is a function of its film and its key.

        Args:
            latents: (B, C, H, W), for a prior that reads them.
            pixels: (B, S, S) uint8, the films as they are saved, for one that reads films.
        """
        draws = [make_generator(*key, device=self.device) for key in keys]
        features = self.read_features(latents, pixels)
        return self.reader.write(features, self.config.decoding, draws, self.films.autocast())

    @torch.no_grad()
    def read_features(self, latents: torch.Tensor, pixels: np.ndarray) -> torch.Tensor:
        """What the prior reads of films, see `write_reports`: their latents, or an encoder's maps."""
        reader = self.reader
        if reader.encode is None:
            return latents
        films = np.stack([fit_crop(film, reader.film_size) for film in pixels])
        with self.films.autocast():
            return reader.encode(to_images(films).to(self.device))
