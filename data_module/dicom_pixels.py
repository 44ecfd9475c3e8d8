"""The pixel data of a DICOM file, compressed or not -> the values stored in it."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from data_module import codestreams
from data_module.codestreams import FrameHeader
from data_module.film_types import FilmError, FilmWarning

OVERLAY_BITS = [0x60000102 + (group << 16) for group in range(0, 32, 2)]  # bits within the pixels


@dataclass(frozen=True)
class Layout:
    """How pixels lie in the data: `allocated` bits a cell, of which `stored` count, up to bit `high`."""

    shape: tuple[int, ...]  # (rows, columns), or (rows, columns, 3)
    kind: str  # photometric interpretation
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.allocated // 8


def decode_pixels(dataset: pydicom.Dataset, layout: Layout, path: str | Path) -> np.ndarray:
    """Stored values (H, W) or, of color, RGB (H, W, 3), of YBR its luminance Y in the place of each.

    `dataset` is put right for pydicom on the way.
    """
    dataset.BitsAllocated, dataset.BitsStored = layout.allocated, layout.stored
    dataset.PixelRepresentation = int(layout.signed)
    data = dataset["PixelData"].value
    if dataset["PixelData"].is_undefined_length or data[:4] == b"\xfe\xff\x00\xe0":
        cells, high = (
            _decode_frame(dataset, get_frame(data, 0, number_of_frames=1), layout, path),
            layout.stored - 1,
        )
    else:
        cells, high = _decode_plain(dataset, data, layout, path), layout.high
    if layout.kind.startswith("YBR_FULL"):
        return np.broadcast_to(cells[..., :1], cells.shape)
    return cells if cells.ndim == 3 else _to_stored(dataset, cells, layout, high)


def _decode_plain(dataset: pydicom.Dataset, data: bytes, layout: Layout, path: str | Path) -> np.ndarray:
    """Uncompressed cells, of which there are as many as Rows and Columns say."""
    subsampled = layout.kind == "YBR_FULL_422"
    expected = layout.num_bytes * 2 // 3 if subsampled else layout.num_bytes
    if len(data) < expected:
        raise FilmError(f"{path}: DICOM cannot be decoded (its pixel data are cut short or truncated)")
    if len(data) >= 2 * max(expected, 2):
        rows, columns = layout.shape[:2]
        raise FilmError(f"{path}: DICOM with more pixels than its {columns} x {rows}")
    return _decode_with_pydicom(dataset, layout, _plain_syntax(dataset))


def _plain_syntax(dataset: pydicom.Dataset) -> UID:
    """The transfer syntax that the file is written in, which its header may not name."""
    is_implicit, is_little_endian = dataset.original_encoding
    if not is_little_endian:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian


def _decode_frame(dataset: pydicom.Dataset, frame: bytes, layout: Layout, path: str | Path) -> np.ndarray:
    """A compressed frame, by what it says of itself: its transfer syntax may be missing or another."""
    header = codestreams.read_header(frame)
    if header is None:
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        if syntax != RLELossless or layout.allocated < 8:
            raise FilmError(
                f"{path}: DICOM compressed in a way that is not read (JPEG, JPEG-LS, JPEG 2000 and RLE are); "
                "write it uncompressed"
            )
        cells = codestreams.decode_rle(frame, layout.shape, layout.allocated // 8)
    else:
        _check_header(header, layout, path)
        if header.kind == codestreams.JPEG and header.bits == 8:
            return _decode_with_pydicom(dataset, layout, JPEGBaseline8Bit)
        cells = codestreams.decode(frame, header)
    # JPEG 2000 undoes its own color transforms; lossless JPEG, JPEG-LS and RLE have none.
    return cells


def _check_header(header: FrameHeader, layout: Layout, path: str | Path) -> None:
    num_samples = layout.shape[2] if len(layout.shape) == 3 else 1
    if (header.height, header.width, header.num_samples) != (*layout.shape[:2], num_samples):
        raise FilmError(
            f"{path}: DICOM cannot be decoded (its compressed image has another size than Rows, Columns and "
            "SamplesPerPixel say)"
        )


def _decode_with_pydicom(dataset: pydicom.Dataset, layout: Layout, syntax: UID) -> np.ndarray:
    """Uncompressed cells as unsigned, or a frame of 8-bit JPEG by Pillow; colors as they are stored."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns = layout.shape[:2]
    dataset.SamplesPerPixel = layout.shape[2] if len(layout.shape) == 3 else 1
    dataset.NumberOfFrames, dataset.PhotometricInterpretation = 1, layout.kind
    dataset.PixelRepresentation = 0
    if len(layout.shape) == 3 and dataset.get("PlanarConfiguration") not in (0, 1):
        dataset.PlanarConfiguration = 0
    if syntax == JPEGBaseline8Bit:
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, plugin = 7, "pillow"
    else:
        dataset.BitsStored, dataset.HighBit, plugin = layout.allocated, layout.allocated - 1, ""
    cells, _ = get_decoder(syntax).as_array(dataset, raw=True, decoding_plugin=plugin)
    dataset.BitsAllocated, dataset.BitsStored = layout.allocated, layout.stored
    dataset.PixelRepresentation = int(layout.signed)
    return cells


def _to_stored(dataset: pydicom.Dataset, cells: np.ndarray, layout: Layout, high: int) -> np.ndarray:
    """Cells (H, W) -> the values in them: bits up to `high`, without what else lies there, signed or not."""
    mask, shift = 2**layout.stored - 1, high + 1 - layout.stored
    if cells.dtype.kind == "i":  # of JPEG 2000, which knows signs
        return cells
    if shift and cells.max() > mask:
        cells = cells >> shift
    if any(tag in dataset for tag in OVERLAY_BITS):
        cells = cells & mask
    within = cells.max() <= mask
    if layout.signed:
        sign = 2 ** (layout.stored - 1)
        cells = (cells.astype(np.int32) ^ sign) - sign if within else cells.view(f"i{cells.dtype.itemsize}")
        within = within or (cells.min() >= -sign and cells.max() < sign)
    if not within and "PixelPaddingValue" not in dataset:
        warnings.warn("BitsStored below what the pixels hold: left out", FilmWarning, stacklevel=2)
    return cells
