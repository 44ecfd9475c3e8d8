"""Images that Pillow reduces to 8 bits or does not know: PNG of deep color or alpha, TIFF of over 8 bits,
and files that are one frame of lossless JPEG, JPEG-LS or JPEG of 12 bits."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from data_module import codestreams
from data_module.film_types import MAX_PIXELS, FilmError, check_num_pixels
from data_module.gray import orient, scale_depth

MAX_BYTES = 2**28  # of a file that is read whole; a TIFF is not
_MAX_UNPACKED = 8 * MAX_PIXELS  # bytes: the largest film in four channels of 16 bits
if TYPE_CHECKING:
    from tifffile import TiffPage

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# none, LZW, deflate (three codes), PackBits, zstandard: their output is bounded by the size of the strip
_TIFF_COMPRESSIONS = (1, 5, 8, 32946, 32773, 50000, 34926)
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _UNASSOCIATED_ALPHA = 0, 1, 2, 2


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image, of which no pixel was read yet, holds more than Pillow gives of it."""
    if isinstance(image, PngImageFile):
        raw_mode = str(image.tile[0][3]) if image.tile else ""
        return raw_mode.endswith(";16B") and (image.mode != "I;16" or "transparency" in image.info)
    return isinstance(image, TiffImageFile) and max(image.tag_v2.get(258, (1,))) > 8


def read_deep(path: str | Path, color: str) -> np.ndarray | None:
    """A file of one of these kinds as (H, W) uint8 gray, upright; None for any other file.

    Raises:
        FilmError: damaged, oversized, of a kind that is not read, or color that is refused.
    """
    with open(path, "rb") as file:
        start = file.read(8)
    if start[:4] in _TIFF_MAGIC:
        return _read_tiff(path, color)
    if Path(path).stat().st_size > MAX_BYTES:
        raise FilmError(f"{path}: has more than {MAX_BYTES:,} bytes, which no film has")
    content = Path(path).read_bytes()
    if start == b"\x89PNG\r\n\x1a\n":
        values = _decode_png(content, path)
    elif start[:3] == b"\xff\xd8\xff" or start[:4] == b"\xff\x4f\xff\x51":
        values = _decode_codestream(content, path)
    else:
        return None
    _check_color(values, path, color)
    return scale_depth(values, path)


def _check_color(values: np.ndarray, path: str | Path, color: str) -> None:
    if color == "refuse" and values.ndim == 3 and values.shape[2] > 2:
        raise FilmError(f"{path}: stores color, which --color refuse leaves out")


def _decode_png(content: bytes, path: str | Path) -> np.ndarray:
    import imagecodecs

    try:
        return imagecodecs.png_decode(content)
    except Exception as error:
        raise FilmError(f"{path}: cannot be decoded (the PNG file is damaged or cut short)") from error


def _decode_codestream(content: bytes, path: str | Path) -> np.ndarray:
    try:
        header = codestreams.read_header(content)
        if header is None:
            raise codestreams.CodestreamError("the compressed image is of no kind of JPEG")
        check_num_pixels(path, header.width, header.height)
        if header.num_samples not in (1, 3):
            raise FilmError(f"{path}: stores {header.num_samples} channels; a film is gray or RGB")
        return codestreams.decode(content, header)
    except codestreams.CodestreamError as error:
        raise FilmError(f"{path}: cannot be decoded ({error})") from None


def _read_tiff(path: str | Path, color: str) -> np.ndarray:
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it quotes what tags hold
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            _check_page(page, path, Path(path).stat().st_size)
            values = page.asarray(maxworkers=1)
            values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
            extra, photometric = tuple(page.extrasamples), page.photometric
            tag = page.tags.get("Orientation")
            orientation = tag.value if tag is not None else 1
    except FilmError:
        raise
    except Exception as error:
        raise FilmError(
            f"{path}: cannot be decoded (the TIFF file is damaged or of a kind that is not read)"
        ) from error
    if values.ndim == 3:
        num_colors = values.shape[2] - len(extra)
        # Colors with associated alpha lie on black already; other extra samples are not for display.
        values = values[..., : num_colors + (extra[:1] == (_UNASSOCIATED_ALPHA,))]
        values = values[..., 0] if values.shape[2] == 1 else values
    _check_color(values, path, color)
    pixels = scale_depth(values, path)
    return orient(255 - pixels if photometric == _MIN_IS_WHITE else pixels, orientation)


def _check_page(page: "TiffPage", path: str | Path, num_bytes: int) -> None:
    check_num_pixels(path, page.imagewidth, page.imagelength)
    check_num_pixels(path, max(page.tilewidth, 1), max(page.tilelength, 1))
    num_colors = page.samplesperpixel - len(page.extrasamples)
    kind = (int(page.photometric), num_colors)
    if kind not in ((_MIN_IS_WHITE, 1), (_MIN_IS_BLACK, 1), (_RGB, 3)) or page.samplesperpixel > 4:
        raise FilmError(f"{path}: a TIFF of more than 8 bits that is neither gray nor RGB; write it as gray")
    if page.axes not in ("YX", "YXS", "SYX") or page.dtype is None or page.dtype.kind not in "uif":
        raise FilmError(f"{path}: a TIFF of a layout that is not read; write it as one page of gray")
    if page.nbytes > _MAX_UNPACKED:
        raise FilmError(f"{path}: has more than {_MAX_UNPACKED:,} bytes unpacked, which no film has")
    if int(page.compression) not in _TIFF_COMPRESSIONS:
        raise FilmError(
            f"{path}: a TIFF of more than 8 bits in a compression that is not read; write it with LZW or none"
        )
    ends = [place + count for place, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or min(page.databytecounts) <= 0 or max(ends) > num_bytes:
        raise FilmError(f"{path}: cannot be decoded (the TIFF file is truncated)")
