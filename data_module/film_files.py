"""Films as files that tell whether they are as they were written: PNG has a checksum in each chunk, JPEG gets
one as its comment. Imports no torch: the workers that write films need none."""

import io
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.files import write_atomic

SUFFIXES = {"png": ".png", "jpeg": ".jpg"}
JPEG_QUALITY = 95
PNG_LEVEL = 4  # films come out within 1% of level 6's size in 40% of its time
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_MARK, _DIGITS = b"crc32=", 8  # of the file with zeros for these digits
_READERS = 8


def encode_film(pixels: np.ndarray, image_format: str = "png") -> bytes:
    """(H, W) uint8 -> bytes of a grayscale PNG or JPEG file."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if image_format == "png":
        image.save(buffer, "PNG", compress_level=PNG_LEVEL)
        return buffer.getvalue()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, comment=_MARK + b"0" * _DIGITS)
    content = buffer.getvalue()
    place = content.index(_MARK) + len(_MARK)
    return content[:place] + b"%08x" % zlib.crc32(content) + content[place + _DIGITS :]


def write_film(path: Path, pixels: np.ndarray, image_format: str = "png") -> None:
    """Write a film or mask (H, W) uint8."""
    write_atomic(path, encode_film(pixels, image_format), durable=False)


def is_whole(path: Path) -> bool:
    """Whether a film that `encode_film` wrote is as it was. Of a JPEG file without our comment the two ends
    are looked at."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError:
        return False
    if content.startswith(_PNG_START):
        return _is_whole_png(content)
    if not (content.startswith(_JPEG_START) and content.endswith(_JPEG_END)):
        return False
    place = content.find(_MARK, 0, 1024) + len(_MARK)
    if place < len(_MARK):
        return True
    zeros = content[:place] + b"0" * _DIGITS + content[place + _DIGITS :]
    return content[place : place + _DIGITS] == b"%08x" % zlib.crc32(zeros)


def _is_whole_png(content: bytes) -> bool:
    view, place, name = memoryview(content), len(_PNG_START), b""
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(view[place : place + 4])  # of type and data
        name = bytes(view[place + 4 : place + 8])
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return False
        place = end + 4
    return place == len(content) and name == _PNG_END


def find_whole(paths: Sequence[Path]) -> list[bool]:
    """Of each film whether it is whole; they are read side by side, for disks that are far away."""
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(is_whole, paths)
        return list(tqdm(found, "checking films", len(paths), unit="film", leave=False, delay=3))
