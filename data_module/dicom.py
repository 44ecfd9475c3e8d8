"""One DICOM film -> 8-bit grey pixels."""

from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from data_module.decoding import PLAIN, Decoding, FilmError, check_num_pixels

# Only these elements are read: no patient's name or note can reach an error message or a warning.
_TAGS = (
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "LossyImageCompression",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PlanarConfiguration",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "SamplesPerPixel",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
)
_PERCENTILES = (0.5, 99.5)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def read_dicom(path: str | Path, decoding: Decoding = PLAIN) -> np.ndarray:
    """A DICOM film as (H, W) uint8 grey, air dark.

    The modality rescale is applied, then the window that `decoding` names: "voi" is the first VOI LUT or
    window (DICOM PS3.3, C.11.1 and C.11.2). Lowest..highest value is stretched to 0..255 and MONOCHROME1
    inverted, as MIMIC-CXR-JPG was made (Johnson et al., 2019). Pixels of PixelPaddingValue become black.

    Raises:
        FilmError: not a DICOM image, several frames, refused colour, or data that cannot be decoded.
    """
    try:
        _refuse_deflated(path)
        dataset = pydicom.dcmread(path, force=True, specific_tags=list(_TAGS))
        if "PixelData" not in dataset:
            raise FilmError(f"{path}: DICOM without an image")
        num_frames = int(dataset.get("NumberOfFrames") or 1)
        if num_frames > 1:
            raise FilmError(f"{path}: DICOM of {num_frames} frames; a film has one")
        check_num_pixels(path, int(dataset.Columns), int(dataset.Rows))
        if dataset.get("SamplesPerPixel", 1) != 1:
            return _read_colour(dataset, path, decoding)
        stored = dataset.pixel_array
        if not str(dataset.PhotometricInterpretation).startswith("MONOCHROME"):
            raise FilmError(f"{path}: DICOM of {dataset.PhotometricInterpretation}; a film is grey")
        if stored.ndim != 2:  # pydicom takes what is too long for more frames
            raise FilmError(f"{path}: DICOM with more pixels than its {dataset.Columns} x {dataset.Rows}")
        return _to_grey(dataset, stored, decoding.window)
    except FilmError:
        raise
    except FileNotFoundError:
        raise FilmError(f"{path}: no such file") from None
    except Exception as error:
        # pydicom and its decoders raise nearly every type of exception on damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FilmError(f"{path}: DICOM cannot be decoded ({reason})") from None


def _refuse_deflated(path: str | Path) -> None:
    """pydicom unpacks a deflated file whole before its header can be checked: 1 MB of it may fill 1 GB."""
    with open(path, "rb") as file:
        read_preamble(file, force=True)
        meta = read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag >> 16 != 2
        )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise FilmError(f"{path}: deflated DICOM, which may be a decompression bomb; write it uncompressed")


def _read_colour(dataset: pydicom.Dataset, path: str | Path, decoding: Decoding) -> np.ndarray:
    if decoding.colour == "refuse":
        raise FilmError(f"{path}: DICOM in colour, which --colour refuse leaves out")
    stored = dataset.pixel_array  # pydicom turns YBR into RGB
    if stored.ndim != 3 or stored.dtype != np.uint8:
        raise FilmError(f"{path}: DICOM in colour of shape {stored.shape}, {stored.dtype}; 8-bit RGB is read")
    return np.asarray(Image.fromarray(stored).convert("L"))


def _to_grey(dataset: pydicom.Dataset, stored: np.ndarray, window: str) -> np.ndarray:
    values = apply_modality_lut(stored, dataset)
    if window == "voi":
        values = apply_voi_lut(values, dataset)
    values = values.astype(np.float64)
    padding = dataset.get("PixelPaddingValue")
    film = np.ones(stored.shape, dtype=bool) if padding is None else stored != padding
    if not film.any():
        return np.zeros(stored.shape, dtype=np.uint8)
    low, high = (
        np.percentile(values[film], _PERCENTILES)
        if window == "percentile"
        else (values[film].min(), values[film].max())
    )
    grey = (values.clip(low, high) - low) * (255.0 / max(high - low, 1e-9))
    # MIMIC-CXR-JPG truncates, where rounding would be closer.
    grey = (grey if window == "minmax" else np.round(grey)).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return np.where(film, grey, 0).astype(np.uint8)
