"""Films in and out: any readable file -> 8-bit grey pixels -> float images."""

import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

# The largest films are about 20 million pixels; a file that claims more than this is a decompression bomb.
MAX_PIXELS = 80_000_000
DICOM_SUFFIXES = (".dcm", ".dicom")


class FilmError(ValueError):
    """A film that cannot be used: the message names the file and the reason."""


def read_pixels(path: str | Path) -> np.ndarray:
    """One film as (H, W) uint8 grey.

    Colour is averaged to luminance, transparent parts lie on black, EXIF orientation is ignored (films
    are stored upright), and of an animation the first frame counts. Depths over 8 bits are scaled by the
    film's own bit depth, see `scale_depth`. DICOM is read with its rescale, window and MONOCHROME1.

    Raises:
        FilmError: a missing, truncated, oversized or non-image file.
    """
    if is_dicom(path):
        from data_module.dicom import read_dicom

        return read_dicom(path)
    try:
        with Image.open(path) as image:
            check_num_pixels(path, *image.size)
            image.load()
            if image.mode.startswith("I") or image.mode == "F":
                return scale_depth(np.asarray(image), path)
            if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
            return np.asarray(image.convert("L"))
    except FileNotFoundError:
        raise FilmError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise FilmError(f"{path}: not an image file") from None
    except FilmError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise FilmError(f"{path}: cannot be decoded ({error})") from None


def is_dicom(path: str | Path) -> bool:
    """Whether a file is DICOM by its magic number or its suffix; False for one that cannot be opened."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM" or Path(path).suffix.lower() in DICOM_SUFFIXES
    except OSError:
        return False


def check_num_pixels(path: str | Path, width: int, height: int) -> None:
    """Raise FilmError for a size that no film has, before anything is decoded."""
    if not 0 < width * height <= MAX_PIXELS:
        raise FilmError(f"{path}: {width} x {height} pixels, more than the {MAX_PIXELS:,} a film may have")


def scale_depth(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Grey values of more than 8 bits -> uint8, by the film's own bit depth.

    Full scale is 2^b - 1 for the smallest b of 8, 10, 12, 14, 16 that holds the brightest value. A 12-bit
    film in a 16-bit file is thus not nearly black, 8-bit values pass unchanged, and neither one hot pixel
    nor the exposure of the rest decides the scale, as they would with percentiles or minimum and maximum.
    Float films (mode F) hold 0..1 or the same integers.
    """
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise FilmError(f"{path}: holds negative or non-finite grey values")
    peak = values.max()
    if peak <= 1.0 and (values % 1.0).any():
        full_scale = 1.0
    else:
        full_scale = next((2**b - 1 for b in (8, 10, 12, 14, 16) if peak <= 2**b - 1), peak)
    return np.round(values * (255.0 / full_scale)).astype(np.uint8)


def fit_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 -> (size, size): the central square, resized with antialiasing."""
    height, width = pixels.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2  # whole pixels: a crop alone stays exact
    return _resize(pixels, (size, size), box=(left, top, left + side, top + side))


def pad(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 -> (size, size): longer side to `size`, centred on black; nothing is cut off."""
    height, width = pixels.shape
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.zeros((size, size), dtype=np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = _resize(pixels, inner)
    return canvas


def squash(pixels: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 -> (size, size): both sides to `size`; the proportions change."""
    return _resize(pixels, (size, size))


RESIZERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "fit-crop": fit_crop,
    "pad": pad,
    "squash": squash,
}


def _resize(pixels: np.ndarray, size: tuple[int, int], box: tuple[float, ...] | None = None) -> np.ndarray:
    if pixels.shape == size[::-1]:
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))


def to_images(pixels: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W) in 0..255 -> float32 (N, 1, H, W) in [-1, 1]."""
    if isinstance(pixels, np.ndarray) and not pixels.flags.writeable:
        pixels = pixels.copy()  # torch warns of a read-only array, such as a memory map
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
