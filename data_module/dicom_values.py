"""Stored values of a DICOM film -> 8-bit gray: padding, modality LUT or rescale, VOI LUT or window.

All of it is worked out on the levels that a film can hold, of which there are 65,536 at most, and then looked
up for its pixels. An optional tag that makes no sense is left out with a FilmWarning: the film is good.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset

from data_module.film_types import FilmWarning
from data_module.gray import FLAT, HOT_SHARE, mend_hot

_PERCENTILES = (0.5, 99.5)
_STANDS_APART = 4.0  # hot pixels do, where they make the range of values this many times as large
_BAND = 2**22  # pixels counted at a time


@dataclass(frozen=True)
class Levels:
    """The values of a film, apart from padding: `values` (L,) float64 as shown, `counts` (L,) of pixels."""

    values: np.ndarray
    counts: np.ndarray

    def quantiles(self, *shares: float) -> list[float]:
        """The values below which these shares of the pixels lie."""
        found = np.quantile(self.values, shares, weights=self.counts, method="inverted_cdf")
        return [float(value) for value in found]


def to_gray(dataset: Dataset, stored: np.ndarray, window: str, inverted: bool) -> np.ndarray:
    """Stored values (H, W) of any integer type -> uint8 gray (H, W), air dark, padding black.

    Args:
        window: one of WINDOWS.
        inverted: low values are white (MONOCHROME1).
    """
    low, high = int(stored.min()), int(stored.max())
    shift = max(0, (high - low).bit_length() - 16)  # more than 16 bits are read to 16
    wide = np.int64 if stored.dtype.itemsize > 2 else np.int32
    places = (np.subtract(stored, low, dtype=wide) >> shift).astype(np.uint16)
    counts = _count(places)
    levels = low + (np.arange(len(counts), dtype=np.int64) << shift)
    film = ~_find_padding(dataset, levels, shift) & (counts > 0)
    table, hot = np.zeros(len(levels), np.uint8), np.zeros(len(levels), bool)
    if film.any():
        gray, hot[film] = _show(dataset, levels[film], counts[film], window)
        table[film] = 255 - gray if inverted else gray
    return mend_hot(table[places], hot[places]) if hot.any() else table[places]


def _count(places: np.ndarray) -> np.ndarray:
    """How many pixels hold each place; by bands, for bincount takes eight bytes a pixel."""
    flat = places.ravel()
    counts = np.zeros(int(flat.max()) + 1, np.int64)
    for start in range(0, len(flat), _BAND):
        counts += np.bincount(flat[start : start + _BAND], minlength=len(counts))
    return counts


def _find_padding(dataset: Dataset, levels: np.ndarray, shift: int) -> np.ndarray:
    """(L,) bool: the levels that PixelPaddingValue and PixelPaddingRangeLimit name."""
    value = read_number(dataset, "PixelPaddingValue")
    if value is None:
        return np.zeros(len(levels), bool)
    limit = read_number(dataset, "PixelPaddingRangeLimit")
    edges = sorted(_fit_sign(int(edge), dataset) for edge in (value, value if limit is None else limit))
    return (levels >= (edges[0] >> shift << shift)) & (levels <= edges[1])


def _fit_sign(value: int, dataset: Dataset) -> int:
    """A value that was written with the wrong VR, as unsigned for signed pixels or the other way."""
    bits = int(dataset.BitsAllocated)
    value %= 2**bits
    if not dataset.PixelRepresentation:
        return value
    stored = int(dataset.BitsStored)
    if 2 ** (stored - 1) <= value < 2**stored:
        return value - 2**stored
    return value - 2**bits if value >= 2 ** (bits - 1) else value


def _show(
    dataset: Dataset, stored: np.ndarray, counts: np.ndarray, window: str
) -> tuple[np.ndarray, np.ndarray]:
    """Of the stored levels (L,): gray (L,) uint8, low values dark, and which are of hot or dead pixels."""
    values = _apply_modality(dataset, stored.astype(np.float64))
    shown = _apply_voi(dataset, values, counts) if window == "voi" else None
    levels = Levels(values if shown is None else shown, counts)
    low, high = float(levels.values.min()), float(levels.values.max())
    if shown is not None and _is_ready(dataset):
        low, high = 0.0, 1.0
    hot = np.zeros(len(stored), bool)
    if window == "percentile":
        low, high = levels.quantiles(*(share / 100 for share in _PERCENTILES))
    elif window == "voi" and shown is None:
        low, high = _leave_out_hot(levels, low, high)
        hot = (values < low) | (values > high)
    gray = (levels.values.clip(low, high) - low) * (255.0 / max(high - low, 1e-9))
    # MIMIC-CXR-JPG truncates, where rounding would be closer.
    return (gray if window == "minmax" else np.round(gray)).astype(np.uint8), hot


def _is_ready(dataset: Dataset) -> bool:
    """Whether the first window shows all values of 8 bits as they are: a film ready for the screen."""
    window = read_number(dataset, "WindowCenter"), read_number(dataset, "WindowWidth")
    plain = not {"ModalityLUTSequence", "RescaleSlope", "VOILUTSequence"} & set(dataset.dir())
    return (
        plain
        and window == (128.0, 256.0)
        and read_number(dataset, "BitsStored") == 8
        and read_number(dataset, "PixelRepresentation") == 0
        and read_string(dataset, "VOILUTFunction") in ("", "LINEAR")
    )


def _leave_out_hot(levels: Levels, low: float, high: float) -> tuple[float, float]:
    """The range without hot and dead pixels, where these stand far apart from the rest."""
    share = max(HOT_SHARE, 1.0 / levels.counts.sum()) * 1.000001  # at least one pixel on each side
    inner = levels.quantiles(share, 1.0 - share)
    return (inner[0], inner[1]) if high - low > _STANDS_APART * (inner[1] - inner[0]) else (low, high)


def _apply_modality(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """DICOM PS3.3, C.11.1: the modality LUT, else slope and intercept."""
    for item in _items(dataset, "ModalityLUTSequence"):
        lut = _read_lut(item, dataset, float(stored.max()))
        if lut is not None:
            return lut.look_up(stored)
        _warn("a ModalityLUTSequence that cannot be read")
    slope = read_number(dataset, "RescaleSlope")
    intercept = read_number(dataset, "RescaleIntercept") or 0.0
    if slope is None or slope == 0.0:
        if "RescaleSlope" in dataset:
            _warn("a RescaleSlope that is empty, 0 or no number")
        slope = 1.0
    return stored * slope + intercept


def _apply_voi(dataset: Dataset, values: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """Values by the first VOI LUT or window (PS3.3, C.11.2) that shows the film; None where none does."""
    given = False
    for shown, full in _views(dataset, values):
        given = True
        if shown is not None:
            low, high = Levels(shown, counts).quantiles(0.01, 0.99)
            if high - low > full * (FLAT / 255):
                return shown
    if given:
        _warn("a window or VOI LUT that shows nothing of the film or cannot be read")
    return None


def _views(dataset: Dataset, values: np.ndarray) -> Iterator[tuple[np.ndarray | None, float]]:
    """(values as shown or None, range that could be shown) of each VOI LUT and then each window."""
    for item in _items(dataset, "VOILUTSequence"):
        lut = _read_lut(item, dataset, float(values.max()))
        yield (None, 0.0) if lut is None else (lut.look_up(values), float(np.ptp(lut.entries)))
    centers, widths = _read_numbers(dataset, "WindowCenter"), _read_numbers(dataset, "WindowWidth")
    function = read_string(dataset, "VOILUTFunction")
    for center, width in zip(centers, widths, strict=False):
        yield _apply_window(values, center, width, function), 1.0
    if len(centers) != len(widths):
        yield None, 0.0


def _apply_window(
    values: np.ndarray, center: float | None, width: float | None, function: str
) -> np.ndarray | None:
    """Values -> 0..1, by PS3.3, C.11.2.1.2 and C.11.2.1.3; None for a window that means nothing."""
    exact = function in ("LINEAR_EXACT", "SIGMOID")
    if center is None or width is None or not (width > 0 if exact else width >= 1):
        return None
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp((-4.0 * (values - center) / width).clip(-700, 700)))
    if not exact:
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return (values > center).astype(np.float64)
    return ((values - center) / width + 0.5).clip(0.0, 1.0)


@dataclass(frozen=True)
class _Lut:
    first: float
    entries: np.ndarray

    def look_up(self, values: np.ndarray) -> np.ndarray:
        places = np.round(values - self.first).clip(0, len(self.entries) - 1)
        return self.entries[places.astype(np.int64)]


def _read_lut(item: Dataset, dataset: Dataset, highest: float) -> _Lut | None:
    """A LUT of a sequence, None where it cannot be read. `highest` tells a first value below 0 that was
    written as unsigned."""
    found = _read_numbers(item, "LUTDescriptor")
    descriptor = [number for number in found if number is not None]
    if len(found) != 3 or len(descriptor) != 3:
        return None
    num, first = int(descriptor[0]) or 2**16, float(descriptor[1])
    data = _read_raw(item, "LUTData")
    if isinstance(data, bytes):
        order = ">" if dataset.original_encoding[1] is False else "<"
        wide = len(data) >= 2 * num
        kind = f"{order}u2" if wide else "u1"
        data = np.frombuffer(data[: len(data) // 2 * 2 if wide else None], kind)
    try:
        entries = np.asarray(data, np.float64).ravel()[:num]
    except (TypeError, ValueError):
        return None
    if len(entries) < 2 or not np.isfinite(entries).all():
        return None
    return _Lut(first - 2**16 if first >= 2**15 and first > highest else first, entries)


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    found = _read_raw(dataset, keyword)
    try:
        return [item for item in found or () if isinstance(item, Dataset)]
    except TypeError:
        return []


def _read_raw(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts a value when it is asked for
        return None


def read_string(dataset: Dataset, keyword: str) -> str:
    return str(_read_raw(dataset, keyword) or "").strip().upper()


def _read_numbers(dataset: Dataset, keyword: str) -> list[float | None]:
    """The values of an element, None for each that is no finite number."""
    value = _read_raw(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return []
    values = [value] if isinstance(value, str | int | float) else list(value)
    return [_as_number(each) for each in values]


def _as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_number(dataset: Dataset, keyword: str) -> float | None:
    """The first value of an element; None where it is missing, empty or no finite number."""
    return next(iter(_read_numbers(dataset, keyword)), None)


def read_pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """The two values of an element, where it has two that are above 0."""
    found = _read_numbers(dataset, keyword)
    values = [value for value in found if value and value > 0]
    return (values[0], values[1]) if len(found) == len(values) == 2 else None


def _warn(what: str) -> None:
    warnings.warn(f"{what}: left out", FilmWarning, stacklevel=2)
