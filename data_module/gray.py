"""Gray or color values of any depth -> 8-bit gray."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_module.film_types import FilmError

HOT_SHARE = 1e-4  # of a film's pixels may lie beyond its scale, and are clipped: hot or dead pixels
OVERSHOOT = 0.05  # so far beyond full scale, values come from resampling or rounding, not from more bits
FLAT = 2  # gray levels of 255 within which the middle 98% of a blank film lie
_DEPTHS = (8, 10, 12, 14, 16)
_LEAST_FLOAT = 16.0  # a film of fractions that ends between 1 and this has no scale that can be told
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # of ITU-R 601, as Pillow and JPEG have it
_BAND = 2**20  # pixels worked on at a time, so that a large film is never held as float64


def scale_depth(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Values (H, W), or (H, W, 2 to 4) with color and alpha, of more than 8 bits -> uint8 gray (H, W).

    The film's own bit depth is the scale, see `full_scale`. Color becomes luminance; transparent parts lie
    on black and do not count for the depth.

    Raises:
        FilmError: negative or non-finite values, or floats whose scale cannot be told.
    """
    values = values[..., None] if values.ndim == 2 else values
    num_colors = 3 if values.shape[2] > 2 else 1
    colors, alpha = values[..., :num_colors], values[..., num_colors:]
    opacity = None
    if alpha.shape[2]:
        colors = np.where(alpha > 0, colors, 0)
        opacity = full_scale(alpha, path)
    scale = full_scale(colors, path)

    def convert(rows: slice) -> np.ndarray:
        band = colors[rows].astype(np.float64).clip(0.0, scale)
        band = band @ _LUMINANCE if num_colors == 3 else band[..., 0]
        if opacity:
            band *= alpha[rows, :, 0].astype(np.float64).clip(0.0, opacity) / opacity
        return np.round(band * (255.0 / scale))

    pixels = _by_bands(values.shape[:2], convert)
    return mend_hot(pixels, np.asarray((colors > scale).any(axis=2))) if colors.max() > scale else pixels


def full_scale(values: np.ndarray, path: str | Path) -> float:
    """The value that means white: 2^b - 1 for the smallest b of 8, 10, 12, 14, 16 that holds the film.

    A 12-bit film in a 16-bit file is thus not nearly black, 8-bit values pass unchanged, and the exposure of
    the film does not decide, as it would with percentiles or minimum and maximum. Neither do a few hot pixels
    (HOT_SHARE). Floats hold 0..1 or the same integers. A film that goes a little beyond (OVERSHOOT) is scaled
    by its highest value.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise FilmError(f"{path}: holds non-finite gray values; write it without NaN and infinity")
    allowed = max(1, int(HOT_SHARE * values.size))
    scales = [float(2**depth - 1) for depth in _DEPTHS]
    if values.dtype.kind == "f" and _has_fractions(values):
        scales.insert(0, 1.0)
    fitting = (s for s in scales if np.count_nonzero(values > s * (1.0 + OVERSHOOT)) <= allowed)
    scale = next(fitting, high)
    if scales[0] < scale and scales[0] == 1.0 and high < _LEAST_FLOAT:
        raise FilmError(
            f"{path}: holds float gray values that reach neither 0..1 nor 0..255; write it with one of these"
        )
    if scale < high <= scale * (1.0 + OVERSHOOT):
        scale = high
    if low < -OVERSHOOT * scale and np.count_nonzero(values < -OVERSHOOT * scale) > allowed:
        raise FilmError(f"{path}: holds negative gray values; write it with black as 0")
    return scale


def _has_fractions(values: np.ndarray) -> bool:
    step = max(1, _BAND // max(1, values[0].size))
    return any((values[top : top + step] % 1.0).any() for top in range(0, len(values), step))


def _by_bands(shape: tuple[int, int], convert: Callable[[slice], np.ndarray]) -> np.ndarray:
    gray = np.empty(shape, np.uint8)
    step = max(1, _BAND // max(1, shape[1]))
    for top in range(0, shape[0], step):
        gray[top : top + step] = convert(slice(top, top + step))
    return gray


def mend_hot(pixels: np.ndarray, hot: np.ndarray) -> np.ndarray:
    """Pixels (H, W) uint8 with each hot one (H, W) bool that stands alone as the median of its neighbors."""
    mended = pixels.copy()
    for row, column in np.argwhere(hot):
        around = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        neighbors = pixels[around][~hot[around]]
        if len(neighbors) * 2 > hot[around].size:
            mended[row, column] = np.median(neighbors)
    return mended


def luminance(colors: np.ndarray, full: float) -> np.ndarray:
    """Colors (..., 3) of 0..full -> uint8 (...)."""
    shape = colors.shape[:-1]
    flat = colors.reshape(-1, 1, 3)
    gray = _by_bands((len(flat), 1), lambda rows: np.round(flat[rows] @ _LUMINANCE * (255.0 / full)))
    return gray.reshape(shape)


def is_blank(pixels: np.ndarray) -> bool:
    """Whether the middle 98% of the pixels (H, W) uint8 lie within FLAT gray levels: no film is so even."""
    cumulated = np.bincount(pixels.ravel(), minlength=256).cumsum() / pixels.size
    low, high = np.searchsorted(cumulated, (0.01, 0.99))
    return bool(high - low <= FLAT)


def require_film(pixels: np.ndarray, where: object) -> None:
    """Raises FilmError, which begins with `where`, for pixels (H, W) uint8 that are blank, see `is_blank`."""
    if is_blank(pixels):
        gray = int(np.median(pixels))
        share = "every pixel is" if (pixels == gray).all() else "nearly every pixel is about"
        raise FilmError(f"{where}: blank, {share} {gray}")


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) as stored -> upright, by the EXIF (and TIFF) tag Orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):  # the first row is a side of the film
        pixels = pixels.T
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(pixels[rows, columns])


def equalize(pixels: np.ndarray) -> np.ndarray:
    """Histogram equalization of (H, W) uint8, as OpenCV's equalizeHist does, of which MIMIC-CXR-JPG was made.

    The darkest gray becomes 0, and gray g becomes 255 (c(g) - c0) / (n - c0), with c the cumulated histogram,
    c0 its value at the darkest gray and n the number of pixels.
    """
    cumulated = np.bincount(pixels.ravel(), minlength=256).cumsum()
    darkest = cumulated[int(pixels.min())]
    if darkest == pixels.size:  # one gray only
        return pixels
    table = (cumulated - darkest).clip(min=0) * np.float32(255.0 / (pixels.size - darkest))
    return np.rint(table).astype(np.uint8)[pixels]
