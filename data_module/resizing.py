"""8-bit films brought to a square of one size."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from data_module.film_types import Shape


def fit_crop(pixels: np.ndarray, size: int, shape: Shape | None = None) -> np.ndarray:
    """(H, W) uint8 -> (size, size): the central square, resized with antialiasing.

    Args:
        shape: the film's (height, width) before it was decoded at a reduced scale; None: it was not.
    """
    height, width = shape or pixels.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2  # whole pixels: a crop alone stays exact
    return _resize(pixels, (size, size), (left, top, left + side, top + side), (height, width))


def pad(pixels: np.ndarray, size: int, shape: Shape | None = None) -> np.ndarray:
    """(H, W) uint8 -> (size, size): longer side to `size`, centered on black; nothing is cut off."""
    height, width = shape or pixels.shape
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.zeros((size, size), dtype=np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    resized = _resize(pixels, inner, (0, 0, width, height), (height, width))
    canvas[top : top + inner[1], left : left + inner[0]] = resized
    return canvas


def squash(pixels: np.ndarray, size: int, shape: Shape | None = None) -> np.ndarray:
    """(H, W) uint8 -> (size, size): both sides to `size`; the proportions change. The paper's choice."""
    height, width = shape or pixels.shape
    return _resize(pixels, (size, size), (0, 0, width, height), (height, width))


RESIZERS: dict[str, Callable[..., np.ndarray]] = {
    "fit-crop": fit_crop,
    "pad": pad,
    "squash": squash,
}


def _resize(
    pixels: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int], shape: Shape
) -> np.ndarray:
    """Lanczos from `box` (left, top, right, bottom; in pixels of the full film) to `size` (width, height)."""
    if pixels.shape == shape and pixels.shape == size[::-1]:
        return pixels
    # A codec at scale 1/k keeps ceil(n / k) pixels, of which the last may cover less than k of the film's.
    k = 2 ** round(math.log2(max(shape) / max(pixels.shape)))
    box = tuple(min(edge / k, limit) for edge, limit in zip(box, pixels.shape[::-1] * 2, strict=True))
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))
