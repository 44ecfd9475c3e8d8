"""Validation metrics of the films that a denoiser draws while it trains: `score` of `training.fit`."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from data_module.images import load_pixels, to_images, to_pixels
from data_module.pairs import PairsFolder
from runtime.generators import make_generator
from vision_module.config import DrawingConfig
from vision_module.denoiser_config import FilmScoreConfig
from vision_module.film_sampler import FilmSampler
from vision_module.pipeline import VisionModel

# Drawn and paired pixels (N, S, S) uint8, and the (N, 14) certainties that were asked for -> metrics.
FilmMetrics = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, float]]


class FilmScorer:
    """Draws films from the first rows' prompts, always from the same noise, and compares.

    Args:
        make_vision: denoiser -> the whole vision model around it.
        pairs: rows of the validation split.
        metrics: further metrics, such as FID or AUROC by a classifier.
    """

    def __init__(
        self,
        make_vision: Callable[[nn.Module], VisionModel],
        pairs: PairsFolder,
        config: FilmScoreConfig,
        metrics: FilmMetrics | None = None,
        batch_size: int = 16,
    ) -> None:
        self.make_vision, self.metrics, self.batch_size = make_vision, metrics, batch_size
        self.drawing = DrawingConfig(
            num_inference_steps=config.score_steps,
            guidance_scale=config.score_guidance,
            mixed_precision="no",
            truncate_prompts=True,
        )
        self.num_films = min(config.score_films, len(pairs))
        self.prompts = pairs.table["prompt"].fillna("").tolist()[: self.num_films]
        self.paths = pairs.image_paths[: self.num_films]
        self.labels = pairs.labels[: self.num_films]

    def __call__(self, denoiser: nn.Module) -> dict[str, float]:
        vision = self.make_vision(denoiser).to(next(denoiser.parameters()).device)
        sampler = FilmSampler(vision, self.drawing)
        drawn = []
        for start in range(0, self.num_films, self.batch_size):
            items = range(start, min(start + self.batch_size, self.num_films))
            generators = [make_generator(4, item) for item in items]
            _, images = sampler.draw([self.prompts[item] for item in items], [None] * len(items), generators)
            drawn.append(to_pixels(images).cpu().numpy())
        pixels = np.concatenate(drawn)
        films = load_pixels(self.paths, vision.image_size)
        scores = paired_scores(pixels, films)
        return {**scores, **(self.metrics(pixels, films, self.labels) if self.metrics else {})}


def paired_scores(pixels: np.ndarray, films: np.ndarray) -> dict[str, float]:
    """SSIM (Wang et al., 2004) and PSNR in dB of drawn against paired films, (N, S, S) uint8 each."""
    # Late: torchmetrics takes seconds, which a run that draws no films need not pay.
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    pair = to_images(pixels), to_images(films)
    return {
        "ssim": torch.as_tensor(structural_similarity_index_measure(*pair, data_range=2.0)).item(),
        "psnr": peak_signal_noise_ratio(*pair, data_range=2.0).item(),
    }
