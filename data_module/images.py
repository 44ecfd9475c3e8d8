"""Films in and out: any readable file -> 8-bit grey pixels -> float images."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError


class FilmError(ValueError):
    """A film that cannot be used: the message names the file and the reason."""


def read_pixels(path: str | Path) -> np.ndarray:
    """One film as (H, W) uint8 grey. Raises FilmError for a missing, truncated or non-image file."""
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode in ("I;16", "I;16B", "I;16L", "I"):
                wide = np.asarray(image, dtype=np.float64)
                return np.round(wide * (255.0 / max(float(wide.max()), 255.0))).astype(np.uint8)
            return np.asarray(image.convert("L"))
    except FileNotFoundError:
        raise FilmError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise FilmError(f"{path}: not an image file") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise FilmError(f"{path}: cannot be decoded ({error})") from None


def fit_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 -> (size, size): shorter side to `size`, antialiased, then the centre."""
    if pixels.shape == (size, size):
        return pixels
    image = Image.fromarray(pixels)
    scale = size / min(image.size)
    image = image.resize(
        (max(size, round(image.width * scale)), max(size, round(image.height * scale))),
        Image.Resampling.LANCZOS,
        reducing_gap=3.0,
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def to_images(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W) in 0..255 -> float32 (N, 1, H, W) in [-1, 1]."""
    return torch.as_tensor(pixels).to(torch.float32).unsqueeze(1) / 127.5 - 1.0


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """float (N, C, H, W) in [-1, 1] -> uint8 (N, H, W); channels averaged, values clamped and rounded."""
    grey = images.float().mean(dim=1).clamp(-1.0, 1.0)
    return ((grey + 1.0) * 127.5).round().to(torch.uint8)


def load_pixels(paths: Sequence[str | Path], size: int, num_threads: int = 2) -> np.ndarray:
    """Many films, brought to (N, size, size) uint8. Raises FilmError for the first that cannot be read."""
    with ThreadPoolExecutor(num_threads) as pool:
        films = list(pool.map(lambda path: fit_crop(read_pixels(path), size), paths))
    return np.stack(films)


def load_images(paths: Sequence[str | Path], size: int) -> torch.Tensor:
    """Many films as float32 (N, 1, size, size) in [-1, 1]."""
    return to_images(load_pixels(paths, size))
