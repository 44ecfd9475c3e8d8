"""One DICOM film -> 8-bit grey pixels."""

from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from data_module.images import FilmError, check_num_pixels


def read_dicom(path: str | Path) -> np.ndarray:
    """A DICOM film as (H, W) uint8 grey, air dark.

    Modality rescale and the first VOI LUT or window are applied (DICOM PS3.3, C.11.1 and C.11.2), then
    lowest..highest value is stretched to 0..255 and MONOCHROME1 inverted, as MIMIC-CXR-JPG was made
    (Johnson et al., 2019) but for its histogram equalisation. Pixels of PixelPaddingValue become black.

    Raises:
        FilmError: not a DICOM image, several frames, or pixel data that cannot be decoded.
    """
    try:
        dataset = pydicom.dcmread(path, force=True)
        if "PixelData" not in dataset:
            raise FilmError(f"{path}: DICOM without an image")
        num_frames = int(dataset.get("NumberOfFrames") or 1)
        if num_frames > 1:
            raise FilmError(f"{path}: DICOM of {num_frames} frames; a film has one")
        check_num_pixels(path, int(dataset.Columns), int(dataset.Rows))
        stored = dataset.pixel_array
        if stored.ndim == 3:
            return np.asarray(Image.fromarray(stored.astype(np.uint8)).convert("L"))
        if not str(dataset.PhotometricInterpretation).startswith("MONOCHROME"):
            raise FilmError(f"{path}: DICOM of {dataset.PhotometricInterpretation}; a film is grey")
        return _to_grey(dataset, stored)
    except FilmError:
        raise
    except FileNotFoundError:
        raise FilmError(f"{path}: no such file") from None
    except Exception as error:
        # pydicom and its decoders raise nearly every type of exception on damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FilmError(f"{path}: DICOM cannot be decoded ({reason})") from None


def _to_grey(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset).astype(np.float64)
    padding = dataset.get("PixelPaddingValue")
    film = np.ones(stored.shape, dtype=bool) if padding is None else stored != padding
    if not film.any():
        return np.zeros(stored.shape, dtype=np.uint8)
    low, high = values[film].min(), values[film].max()
    grey = np.round((values.clip(low, high) - low) * (255.0 / max(high - low, 1e-9))).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return np.where(film, grey, 0).astype(np.uint8)
