"""Compressed frames of DICOM, and films that are such a frame: JPEG, lossless JPEG, JPEG-LS, JPEG 2000, RLE.

A frame says its own kind, size and depth, whatever the file around it says. These are read first, so that
nothing is decoded that is larger than announced.
"""

import struct
from dataclasses import dataclass
from types import ModuleType

import numpy as np

JPEG, LOSSLESS, JPEG_LS, JPEG_2000 = "JPEG", "lossless JPEG", "JPEG-LS", "JPEG 2000"
_PROGRESSIVE_AND_BASELINE = (0xC0, 0xC1, 0xC2)
_END = b"\xff\xd9"


class CodestreamError(ValueError):
    """Why a frame cannot be decoded; no value of the file is in the message."""


@dataclass(frozen=True)
class FrameHeader:
    """What a frame says of itself: `kind` is one of JPEG, LOSSLESS, JPEG_LS, JPEG_2000; `bits` a sample."""

    kind: str
    width: int
    height: int
    bits: int
    num_samples: int


def read_header(frame: bytes) -> FrameHeader | None:
    """The header of a frame; None where it is of no kind of JPEG."""
    try:
        if frame[:4] == b"\xff\x4f\xff\x51":
            return _read_j2k_header(frame)
        if frame[:3] == b"\xff\xd8\xff":
            return _read_jpeg_header(frame)
    except (struct.error, IndexError):
        raise CodestreamError("the compressed image is cut short") from None
    return None


def _read_j2k_header(frame: bytes) -> FrameHeader:
    right, bottom, left, top = struct.unpack(">4I", frame[8:24])
    (num_samples,) = struct.unpack(">H", frame[40:42])
    return FrameHeader(JPEG_2000, right - left, bottom - top, (frame[42] & 0x7F) + 1, num_samples)


def _read_jpeg_header(frame: bytes) -> FrameHeader:
    place = 2
    while True:
        while frame[place] == 0xFF and frame[place + 1] == 0xFF:  # fill bytes
            place += 1
        marker, (length,) = frame[place + 1], struct.unpack(">H", frame[place + 2 : place + 4])
        kind = JPEG if marker in _PROGRESSIVE_AND_BASELINE else {0xC3: LOSSLESS, 0xF7: JPEG_LS}.get(marker)
        if kind:
            bits, height, width, num_samples = struct.unpack(">BHHB", frame[place + 4 : place + 10])
            return FrameHeader(kind, width, height, bits, num_samples)
        if frame[place] != 0xFF or length < 2 or marker == 0xDA:
            raise CodestreamError("the compressed image is damaged, or of a kind of JPEG that is not read")
        place += 2 + length


def decode(frame: bytes, header: FrameHeader) -> np.ndarray:
    """A frame -> (H, W) or (H, W, C) of its own depth.

    Raises:
        CodestreamError: it is damaged or cut short, or the package imagecodecs is missing.
    """
    codecs = _import_codecs(header.kind)
    # The decoders fill what is missing with gray, or search for it for seconds.
    if _END not in frame[-4096:]:  # it may be padded; compressed data never hold this marker
        raise CodestreamError("the compressed image is cut short")
    codec = {JPEG_LS: codecs.jpegls_decode, JPEG_2000: codecs.jpeg2k_decode}
    try:
        pixels = codec.get(header.kind, codecs.jpeg_decode)(frame)
    except Exception as error:
        raise CodestreamError(f"the compressed image is damaged ({header.kind})") from error
    expected = (header.height, header.width, *([header.num_samples] if header.num_samples > 1 else []))
    if pixels.shape != expected:
        raise CodestreamError(f"the compressed image is damaged ({header.kind})")
    return pixels


def decode_rle(frame: bytes, shape: tuple[int, ...], num_bytes: int) -> np.ndarray:
    """An RLE frame (DICOM PS3.5, annex G) -> `shape` (H, W) or (H, W, C), `num_bytes` a sample, unsigned.

    Each segment holds one byte of one sample of every pixel, the highest byte first.
    """
    num_pixels = shape[0] * shape[1]
    num_segments = num_bytes * (shape[2] if len(shape) > 2 else 1)
    if len(frame) < 64 or struct.unpack("<I", frame[:4])[0] != num_segments:
        raise CodestreamError("the RLE image has another number of segments than its samples have bytes")
    edges = [*struct.unpack("<15I", frame[4:64])[:num_segments], len(frame)]
    planes = np.empty((num_segments, num_pixels), np.uint8)
    for plane, first, last in zip(planes, edges, edges[1:], strict=False):
        plane[:] = _unpack_bits(frame[first:last], num_pixels)
    samples = planes.reshape(-1, num_bytes, num_pixels)[:, ::-1]  # little-endian
    values = np.ascontiguousarray(samples.transpose(2, 0, 1)).view(f"<u{num_bytes}")
    return values.reshape(shape)


def _unpack_bits(packed: bytes, num_bytes: int) -> np.ndarray:
    """Exactly `num_bytes` by PackBits; a segment may end in a byte of padding, which begins no run."""
    codec = _import_codecs("RLE").packbits_decode
    room = np.empty(num_bytes + 1, np.uint8)
    for segment in (packed, packed[:-1]):
        try:
            unpacked = codec(segment, out=room)
        except Exception:
            continue
        if len(unpacked) >= num_bytes:
            return unpacked[:num_bytes]
    raise CodestreamError("the RLE image is damaged or cut short")


def _import_codecs(kind: str) -> ModuleType:
    try:
        import imagecodecs
    except ImportError:
        raise CodestreamError(f"{kind} is read by the package imagecodecs: pip install imagecodecs") from None
    return imagecodecs
