"""One film file -> 8-bit grey pixels of the size asked for. No torch here: worker processes import this.

JPEG films are decoded at 1/2, 1/4 or 1/8 of their scale where the target allows it: the codec then leaves out
the finer coefficients of its cosine transform, which a film brought to 256 pixels would not show anyway.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# The largest films are about 20 million pixels; a file that claims more than this is a decompression bomb.
MAX_PIXELS = 80_000_000
DICOM_SUFFIXES = (".dcm", ".dicom")
WINDOWS = ("voi", "percentile", "minmax")
COLOURS = ("convert", "refuse")
Shape = tuple[int, int]  # height, width
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # of Pillow


class FilmError(ValueError):
    """A film that cannot be used: the message names the file and the reason."""


@dataclass(frozen=True)
class Decoding:
    """How a file becomes grey pixels.

    Attributes:
        window: of DICOM values. "voi": the file's own window or LUT; "percentile": its 0.5th to 99.5th
            percentile; "minmax": lowest to highest value, as MIMIC-CXR-JPG was made.
        colour: "convert" colour to luminance, or "refuse" it.
        equalize: equalise the histogram of the whole film, as MIMIC-CXR-JPG was made.
    """

    window: str = "voi"
    colour: str = "convert"
    equalize: bool = False


PLAIN = Decoding()


def read_resized(path: str | Path, size: int, resize: str, decoding: Decoding = PLAIN) -> np.ndarray:
    """One film as (size, size) uint8 grey, by one of RESIZERS; a JPEG is decoded at reduced scale.

    Raises:
        FilmError: see `read_pixels`.
    """
    # The histogram is the whole film's, so that equalised films are decoded whole.
    pixels, shape = _decode(path, decoding, None if decoding.equalize else size)
    return RESIZERS[resize](pixels, size, shape)


def read_pixels(path: str | Path, decoding: Decoding = PLAIN) -> np.ndarray:
    """One film as (H, W) uint8 grey, decoded whole.

    Colour is averaged to luminance, transparent parts lie on black, EXIF orientation is ignored (films
    are stored upright), and of an animation the first frame counts. Depths over 8 bits are scaled by the
    film's own bit depth, see `scale_depth`. DICOM is read with its rescale, window and MONOCHROME1.

    Raises:
        FilmError: a missing, truncated, oversized or non-image file, or colour that is refused.
    """
    return _decode(path, decoding, None)[0]


def _decode(path: str | Path, decoding: Decoding, least: int | None) -> tuple[np.ndarray, Shape]:
    """Pixels, possibly at reduced scale but never below `least` a side, and the film's full (H, W)."""
    if is_dicom(path):
        from data_module.dicom import read_dicom

        pixels = read_dicom(path, decoding)
        shape = pixels.shape
    else:
        pixels, shape = _decode_image(path, decoding, least)
    return equalize(pixels) if decoding.equalize else pixels, shape


def _decode_image(path: str | Path, decoding: Decoding, least: int | None) -> tuple[np.ndarray, Shape]:
    try:
        with Image.open(path) as image:
            check_num_pixels(path, *image.size)
            if decoding.colour == "refuse" and image.mode not in _GREY_MODES:
                raise FilmError(f"{path}: stores colour ({image.mode}), which --colour refuse leaves out")
            shape = image.size[::-1]
            if least:
                image.draft("L", (least, least))
            image.load()
            return _to_grey(image, path), shape
    except FileNotFoundError:
        raise FilmError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        reason = "is empty (0 bytes)" if Path(path).stat().st_size == 0 else "not an image file"
        raise FilmError(f"{path}: {reason}") from None
    except FilmError:
        raise
    except Image.DecompressionBombError:
        raise FilmError(f"{path}: a decompression bomb; at most {MAX_PIXELS:,} pixels are read") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # The system's own errors repeat the path, which differs between machines.
        reason = getattr(error, "strerror", None) or error
        raise FilmError(f"{path}: cannot be decoded ({reason})") from None


def _to_grey(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return scale_depth(np.asarray(image), path)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("L"))


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
        raise FilmError(f"{path}: {width} x {height}; at most {MAX_PIXELS:,} pixels are read")


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


def equalize(pixels: np.ndarray) -> np.ndarray:
    """Histogram equalisation of (H, W) uint8, as OpenCV's equalizeHist does, of which MIMIC-CXR-JPG was made.

    The darkest grey becomes 0, and grey g becomes 255 (c(g) - c0) / (n - c0), with c the cumulated histogram,
    c0 its value at the darkest grey and n the number of pixels.
    """
    cumulated = np.bincount(pixels.ravel(), minlength=256).cumsum()
    darkest = cumulated[int(pixels.min())]
    if darkest == pixels.size:  # one grey only
        return pixels
    table = (cumulated - darkest).clip(min=0) * np.float32(255.0 / (pixels.size - darkest))
    return np.rint(table).astype(np.uint8)[pixels]


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
    """(H, W) uint8 -> (size, size): longer side to `size`, centred on black; nothing is cut off."""
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
