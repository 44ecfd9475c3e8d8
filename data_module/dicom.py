"""One DICOM film -> 8-bit gray pixels: the file, its layout and its pixel data."""

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
from PIL import Image
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_color_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from data_module.codestreams import CodestreamError
from data_module.dicom_pixels import OVERLAY_BITS, Layout, decode_pixels
from data_module.dicom_values import read_number, read_pair, read_string, to_gray
from data_module.film_types import PLAIN, Decoding, FilmError, FilmWarning, check_num_pixels
from data_module.gray import luminance

MAX_BYTES = 2**28  # of a file; 80 million pixels of 16 bits take 160 MB
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_MAX_ASPECT = 8.0
_PALETTES = [
    f"{color}PaletteColorLookupTable{part}"
    for color in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
]
# Only these elements are read: no patient's name or note can reach an error message or a warning.
_TAGS = [
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PixelData"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", *_SPACINGS, *_PALETTES, *OVERLAY_BITS),
    *("ModalityLUTSequence", "RescaleIntercept", "RescaleSlope", "RescaleType"),
    *("VOILUTFunction", "VOILUTSequence", "WindowCenter", "WindowWidth"),
]
_GRAY, _COLOR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")  # it quotes what elements hold


def read_dicom(path: str | Path, decoding: Decoding = PLAIN) -> np.ndarray:
    """A DICOM film as (H, W) uint8 gray of square pixels, air dark.

    The modality rescale is applied, then the window that `decoding` names: "voi" is the first VOI LUT or
    window (DICOM PS3.3, C.11.1 and C.11.2) that shows the film. Lowest..highest value is stretched to 0..255
    and MONOCHROME1 inverted, as MIMIC-CXR-JPG was made (Johnson et al., 2019); values of 8 bits under the
    window that shows each as it is (128, 256) are not stretched. Pixels of PixelPaddingValue
    become black. An optional element that makes no sense is left out with a FilmWarning.

    Raises:
        FilmError: not a DICOM image, several frames, refused color, or data that cannot be decoded. No value
            of an element is in the message, but for sizes.
    """
    try:
        return _read(path, decoding)
    except FilmError:
        raise
    except CodestreamError as error:
        raise FilmError(f"{path}: DICOM cannot be decoded ({error})") from None
    except FileNotFoundError:
        raise FilmError(f"{path}: no such file") from None
    except Exception as error:
        # pydicom and its decoders raise nearly every type of exception on damaged files, and quote values.
        reason = f"its header or its pixel data are damaged: {type(error).__name__}"
        raise FilmError(f"{path}: DICOM cannot be decoded ({reason})") from None


def _read(path: str | Path, decoding: Decoding) -> np.ndarray:
    num_bytes = Path(path).stat().st_size
    if not 0 < num_bytes <= MAX_BYTES:
        size = f"has more than {MAX_BYTES:,} bytes, which no film has" if num_bytes else "is empty (0 bytes)"
        raise FilmError(f"{path}: DICOM file {size}")
    # From memory: of a file on the disk pydicom makes room for as many bytes as a damaged length claims.
    content = Path(path).read_bytes()
    _refuse_deflated(content, path)
    dataset = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=_TAGS)
    if "PixelData" not in dataset:
        raise FilmError(f"{path}: DICOM without an image")
    layout = _read_layout(dataset, path)
    if decoding.color == "refuse" and len(layout.shape) == 3:
        raise FilmError(f"{path}: DICOM in color, which --color refuse leaves out")
    stored = decode_pixels(dataset, layout, path)
    if len(layout.shape) == 3:
        gray = luminance(stored, 2.0**layout.stored - 1.0)
    elif layout.kind == "PALETTE COLOR":
        gray = _apply_palette(dataset, stored, path, decoding)
    else:
        gray = to_gray(dataset, stored, decoding.window, layout.kind == "MONOCHROME1")
    return _square_pixels(dataset, gray, path)


def _refuse_deflated(content: bytes, path: str | Path) -> None:
    """pydicom unpacks a deflated file whole before its header can be checked: 1 MB of it may fill 1 GB."""
    file = io.BytesIO(content)
    read_preamble(file, force=True)
    meta = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2
    )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise FilmError(f"{path}: deflated DICOM, which may be a decompression bomb; write it uncompressed")


def _read_layout(dataset: pydicom.Dataset, path: str | Path) -> Layout:
    """The layout, with what is missing or impossible put right where it can be."""

    def whole(keyword: str, default: int | None = None) -> int:
        number = read_number(dataset, keyword)
        if number is not None:
            return int(number)
        if default is None:
            raise FilmError(f"{path}: DICOM cannot be decoded ({keyword} is missing or no number)")
        return default

    num_frames = whole("NumberOfFrames", 1)
    if num_frames > 1:
        raise FilmError(f"{path}: DICOM of {num_frames} frames; a film has one")
    rows, columns = whole("Rows"), whole("Columns")
    check_num_pixels(path, columns, rows)
    num_samples, kind = whole("SamplesPerPixel", 1), read_string(dataset, "PhotometricInterpretation")
    if not (kind in (*_GRAY, "PALETTE COLOR") if num_samples == 1 else kind in _COLOR and num_samples == 3):
        raise FilmError(
            f"{path}: DICOM whose PhotometricInterpretation is missing or unknown, or does not go with its "
            "SamplesPerPixel; films are MONOCHROME1 or MONOCHROME2, PALETTE COLOR or RGB"
        )
    allocated = whole("BitsAllocated")
    if allocated not in (1, 8, 16, 32):
        raise FilmError(f"{path}: DICOM cannot be decoded (BitsAllocated is none of 1, 8, 16, 32)")
    stored = whole("BitsStored", allocated)
    stored = stored if 0 < stored <= allocated else allocated
    high = whole("HighBit", stored - 1)
    high = high if stored - 1 <= high < allocated else stored - 1
    shape = (rows, columns, 3) if num_samples == 3 else (rows, columns)
    return Layout(shape, kind, allocated, stored, high, whole("PixelRepresentation", 0) == 1)


def _apply_palette(
    dataset: pydicom.Dataset, stored: np.ndarray, path: str | Path, decoding: Decoding
) -> np.ndarray:
    """Places in a palette (H, W) -> uint8 gray; one palette entry for each value that pixels hold."""
    if stored.dtype.itemsize > 2:
        raise FilmError(f"{path}: DICOM with a palette of more than 16 bits, which is not read")
    first = int(stored.min())
    places = np.arange(first, int(stored.max()) + 1, dtype=np.int32).astype(stored.dtype)
    colors = apply_color_lut(places[None], dataset)[0]
    if decoding.color == "refuse" and np.ptp(colors.astype(np.int64), axis=-1).any():
        raise FilmError(f"{path}: DICOM in color, which --color refuse leaves out")
    full = float(np.iinfo(colors.dtype).max)
    return luminance(colors, full)[stored.astype(np.int32) - first]


def _square_pixels(dataset: pydicom.Dataset, gray: np.ndarray, path: str | Path) -> np.ndarray:
    """Stretch the shorter side of pixels that are not square: (vertical, horizontal) size by any element."""
    for keyword in _SPACINGS:
        pair = read_pair(dataset, keyword)
        if pair is None:
            continue
        aspect = pair[0] / pair[1]
        if not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
            warnings.warn(f"a {keyword} beyond 1 to {_MAX_ASPECT:.0f}: left out", FilmWarning, stacklevel=2)
            continue
        rows, columns = gray.shape
        height, width = round(rows * max(aspect, 1.0)), round(columns * max(1.0 / aspect, 1.0))
        if abs(aspect - 1.0) < 0.01 or (height, width) == (rows, columns):
            return gray
        check_num_pixels(path, width, height)
        return np.asarray(Image.fromarray(gray).resize((width, height), Image.Resampling.LANCZOS))
    return gray
