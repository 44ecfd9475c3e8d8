"""Films as models see them: many files -> uint8 pixels -> float images, and back."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from data_module.decoding import read_pixels
from data_module.film_types import FilmError, check_num_pixels
from data_module.resizing import RESIZERS, fit_crop, pad, squash

# The decoding half lives apart from torch, for the worker processes; readers of films find both here.
__all__ = [
    "RESIZERS",
    "FilmError",
    "check_num_pixels",
    "fit_crop",
    "load_images",
    "load_pixels",
    "normalize_images",
    "pad",
    "read_pixels",
    "shift_films",
    "squash",
    "to_images",
    "to_pixels",
]


def to_images(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W) in 0..255 -> float32 (N, 1, H, W) in [-1, 1]."""
    if isinstance(pixels, np.ndarray) and not pixels.flags.writeable:
        pixels = pixels.copy()  # torch warns of a read-only array, such as a memory map
    return torch.as_tensor(pixels).to(torch.float32).unsqueeze(1) / 127.5 - 1.0


def normalize_images(
    images: torch.Tensor, mean: torch.Tensor | float, std: torch.Tensor | float
) -> torch.Tensor:
    """Images in [-1, 1] -> the pixel_values of a model that takes films of [0, 1] less `mean`, over `std`."""
    return ((images + 1.0) / 2.0 - mean) / std


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """float (N, C, H, W) in [-1, 1] -> uint8 (N, H, W); channels averaged, values clamped and rounded."""
    gray = images.float().mean(dim=1).clamp(-1.0, 1.0)
    return ((gray + 1.0) * 127.5).round().to(torch.uint8)


def load_pixels(paths: Sequence[str | Path], size: int, num_threads: int = 2) -> np.ndarray:
    """Many films, brought to (N, size, size) uint8. Raises FilmError for the first that cannot be read."""
    with ThreadPoolExecutor(num_threads) as pool:
        films = list(pool.map(lambda path: fit_crop(read_pixels(path), size), paths))
    return np.stack(films)


def load_images(paths: Sequence[str | Path], size: int) -> torch.Tensor:
    """Many films as float32 (N, 1, size, size) in [-1, 1]."""
    return to_images(load_pixels(paths, size))


def shift_films(films: torch.Tensor, max_shift: int, generator: torch.Generator) -> torch.Tensor:
    """Films or latents (N, C, S, S), each moved by its own whole number of cells, with the edge repeated.

    Args:
        max_shift: most cells, each way and on each side.
    """
    size = films.shape[-1]
    padded = functional.pad(films, (max_shift,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * max_shift + 1, (len(films), 2), generator=generator).tolist()
    return torch.stack(
        [film[:, y : y + size, x : x + size] for film, (y, x) in zip(padded, corners, strict=True)]
    )
