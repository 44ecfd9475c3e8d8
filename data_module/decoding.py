"""One film file -> 8-bit gray pixels of the size asked for. No torch here: worker processes import this.

JPEG films are decoded at 1/2, 1/4 or 1/8 of their scale where the target allows it: the codec then leaves out
the finer coefficients of its cosine transform, which a film brought to 256 pixels would not show anyway.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_module.deep_images import is_deep, read_deep
from data_module.film_types import (
    MAX_PIXELS,
    PLAIN,
    Decoding,
    FilmError,
    FilmWarning,
    Shape,
    check_file,
    check_num_pixels,
)
from data_module.gray import equalize, orient, require_film, scale_depth
from data_module.resizing import RESIZERS

DICOM_SUFFIXES = (".dcm", ".dicom")
# Of Pillow's formats those that films come in; others run programs (EPS) or are not pictures.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # of Pillow
_ORIENTATION = 0x0112  # EXIF tag


def read_resized(path: str | Path, size: int, resize: str, decoding: Decoding = PLAIN) -> np.ndarray:
    """One film as (size, size) uint8 gray, by one of RESIZERS; a JPEG is decoded at reduced scale.

    Raises:
        FilmError: see `read_pixels`.
    """
    # The histogram is the whole film's, so that equalized films are decoded whole.
    pixels, shape = _decode(path, decoding, None if decoding.equalize else size)
    return RESIZERS[resize](pixels, size, shape)


def read_pixels(path: str | Path, decoding: Decoding = PLAIN) -> np.ndarray:
    """One film as (H, W) uint8 gray, upright, of square pixels, decoded whole.

    Color is averaged to luminance, transparent parts lie on black, EXIF orientation is applied, and of an
    animation or a TIFF of many pages the first counts. Depths over 8 bits are scaled by the film's own bit
    depth, see `gray.full_scale`. DICOM is read with its rescale, window, MONOCHROME1 and pixel aspect; of
    other formats gamma and resolution tags are ignored, as they are seldom meant.

    A flaw of the file that leaves its film whole, such as a window that shows nothing of it, is a
    FilmWarning.

    Raises:
        FilmError: a missing, truncated, oversized or non-image file, or color that is refused.
    """
    return _decode(path, decoding, None)[0]


def read_one_film(path: Path, flag: str) -> np.ndarray:
    """The film (H, W) uint8 that a flag names. Raises FilmError, which names it, also for a blank one."""
    try:
        pixels = read_pixels(path)
        require_film(pixels, path)
    except FilmError as error:
        raise FilmError(f"{flag} {error}") from None
    return pixels


def _decode(path: str | Path, decoding: Decoding, least: int | None) -> tuple[np.ndarray, Shape]:
    """Pixels, possibly at reduced scale but never below `least` a side, and the film's full (H, W)."""
    check_file(path)
    if is_dicom(path):
        from data_module.dicom import read_dicom  # pydicom takes half a second to import

        pixels = read_dicom(path, decoding)
        shape = _shape(pixels)
    else:
        pixels, shape = _decode_image(path, decoding, least)
    return equalize(pixels) if decoding.equalize else pixels, shape


def _decode_image(path: str | Path, decoding: Decoding, least: int | None) -> tuple[np.ndarray, Shape]:
    try:
        # Of a file and not of its name: Pillow 13 maps a TIFF with an orientation by the wrong width.
        with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as image:
            check_num_pixels(path, *image.size)
            if not is_deep(image):
                return _read_image(image, path, decoding, least)
        return _read_deep(path, decoding)
    except UnidentifiedImageError:
        return _read_deep(path, decoding)
    except FilmError:
        raise
    except Image.DecompressionBombError:
        raise FilmError(f"{path}: a decompression bomb; at most {MAX_PIXELS:,} pixels are read") from None
    except Exception as error:
        # Pillow's decoders raise nearly every type of exception on damaged files. The system's own errors
        # repeat the path, which differs between machines.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FilmError(f"{path}: cannot be decoded ({reason})") from None


def _read_deep(path: str | Path, decoding: Decoding) -> tuple[np.ndarray, Shape]:
    pixels = read_deep(path, decoding.color)
    if pixels is None:
        empty = Path(path).stat().st_size == 0
        reason = "is empty (0 bytes)" if empty else "not an image file, or of a kind that is not read"
        raise FilmError(f"{path}: {reason}") from None
    return pixels, _shape(pixels)


def _shape(pixels: np.ndarray) -> Shape:
    height, width = pixels.shape
    return height, width


def _read_image(
    image: Image.Image, path: str | Path, decoding: Decoding, least: int | None
) -> tuple[np.ndarray, Shape]:
    if decoding.color == "refuse" and image.mode not in _GRAY_MODES:
        raise FilmError(f"{path}: stores color ({image.mode}), which --color refuse leaves out")
    shape = image.height, image.width
    if least:
        image.draft("L", (least, least))
    image.load()
    pixels = _to_gray(image, path)
    orientation = _read_orientation(image)
    if image.format == "TIFF":  # Pillow has turned it
        return pixels, _shape(pixels)
    height, width = shape
    return orient(pixels, orientation), (width, height) if orientation >= 5 else shape


def _read_orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        warnings.warn("EXIF data that cannot be read: left out", FilmWarning, stacklevel=2)
        return 1
    return orientation if orientation in range(1, 9) else 1


def _to_gray(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return scale_depth(np.asarray(image), path)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("L"))


def is_dicom(path: str | Path) -> bool:
    """Whether a file is DICOM by its magic number or its suffix; False for one that cannot be opened."""
    try:
        if not Path(path).is_file():  # to open a pipe would wait
            return False
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM" or Path(path).suffix.lower() in DICOM_SUFFIXES
    except OSError:
        return False
