"""The sheet the phantom is drawn on: body coordinates, line drawing by splatting, and the film curve."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

# Widths (standard deviation, body units) that lines are drawn at: one blur serves all lines of a width.
LINE_WIDTHS = (0.006, 0.010, 0.016, 0.026, 0.045)
LINE_STEP = 0.006  # body units between samples of a line
SUPERSAMPLE = {64: 3, 128: 2, 256: 2}


@dataclass(frozen=True)
class Pose:
    """How the patient stands before the detector, and how the film is taken. Lengths in body units."""

    tilt: float = 0.0  # radians
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0  # midline structures against the cage, body units; > 0 towards image right
    inspiration: float = 0.0  # diaphragm lower (> 0) or higher (< 0)
    exposure: float = 0.0  # shift of the film curve
    contrast: float = 3.1  # slope of the film curve
    blur: float = 0.4  # pixels of the finished film
    noise: float = 0.012  # of the full gray range


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function that does not overflow in float32."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


class Canvas:
    """Grid of body coordinates: u in about [-1, 1], image left (the patient's right) is negative; v down.

    Attributes:
        u, v: (n, n) float32, body coordinates of the pixel centers, n = size * supersample.
    """

    def __init__(self, size: int, pose: Pose):
        self.size, self.factor, self.pose = size, SUPERSAMPLE.get(size, 2), pose
        self.n = size * self.factor
        centers = ((np.arange(self.n, dtype=np.float32) + 0.5) * (2.0 / self.n) - 1.0).astype(np.float32)
        x, y = np.meshgrid(centers - np.float32(pose.shift[0]), centers - np.float32(pose.shift[1]))
        cos, sin = np.float32(np.cos(pose.tilt)), np.float32(np.sin(pose.tilt))
        scale = np.float32(pose.scale)
        self.u, self.v = (cos * x + sin * y) / scale, (cos * y - sin * x) / scale
        self._lines: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add_line(self, points: np.ndarray, amplitude: np.ndarray | float, width: np.ndarray | float) -> None:
        """Queue a polyline; `draw_lines` draws all that are queued.

        Args:
            points: (P, 2) body coordinates (u, v).
            amplitude: density at the line's middle, a number or (P,).
            width: standard deviation across, body units, a number or (P,).
        """
        points = np.asarray(points, dtype=np.float32)
        place = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        if place[-1] <= 0:
            return
        num = max(int(place[-1] / LINE_STEP), 2)
        at = (np.arange(num) + 0.5) * (place[-1] / num)
        track = np.stack([np.interp(at, place, points[:, axis]) for axis in (0, 1)], axis=1)
        amplitudes, widths = (
            np.interp(at, place, np.broadcast_to(np.asarray(value, dtype=np.float32), len(points)))
            for value in (amplitude, width)
        )
        self._lines.append((track, amplitudes * widths * (np.sqrt(2 * np.pi) * place[-1] / num), widths))

    def add_lines(self, points: np.ndarray, amplitude: np.ndarray, width: np.ndarray) -> None:
        """Queue many polylines of one number of points, each with segments of one length.

        Args:
            points: (L, P, 2) body coordinates.
            amplitude, width: (L, P), as in `add_line`.
        """
        length = np.hypot(*np.moveaxis(points[:, 1] - points[:, 0], -1, 0)) * (points.shape[1] - 1)
        num = max(int(length.max() / LINE_STEP), 2)
        at = (np.arange(num) + 0.5) * ((points.shape[1] - 1) / num)
        low = at.astype(np.int64)
        part = (at - low)[None, :]
        track = points[:, low] * (1 - part)[..., None] + points[:, low + 1] * part[..., None]
        amplitude = amplitude[:, low] * (1 - part) + amplitude[:, low + 1] * part
        width = width[:, low] * (1 - part) + width[:, low + 1] * part
        mass = amplitude * width * (np.sqrt(2 * np.pi) / num) * length[:, None]
        self._lines.append((track.reshape(-1, 2), mass.ravel(), width.ravel()))

    def draw_lines(self) -> np.ndarray:
        """(n, n) float32 density of the queued lines; empties the queue."""
        layer = np.zeros((self.n, self.n), dtype=np.float32)
        if not self._lines:
            return layer
        track, mass, width = (np.concatenate(parts) for parts in zip(*self._lines, strict=True))
        self._lines = []
        nearest = np.abs(np.log(width[:, None] / np.asarray(LINE_WIDTHS))).argmin(axis=1)
        unit = self.pose.scale * self.n / 2.0  # pixels per body unit
        for index, sigma in enumerate(LINE_WIDTHS):
            chosen = nearest == index
            if chosen.any():
                spread = self._splat(track[chosen], mass[chosen] * unit * unit)
                layer += gaussian_filter(spread, max(sigma * unit, 0.4), truncate=3.0)
        return layer

    def _splat(self, points: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Bilinear sum of point masses, (n, n) float32."""
        pose, n = self.pose, self.n
        cos, sin = np.cos(pose.tilt), np.sin(pose.tilt)
        x = pose.scale * (cos * points[:, 0] - sin * points[:, 1]) + pose.shift[0]
        y = pose.scale * (sin * points[:, 0] + cos * points[:, 1]) + pose.shift[1]
        column, row = (x + 1.0) * n / 2.0 - 0.5, (y + 1.0) * n / 2.0 - 0.5
        left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
        dx, dy = column - left, row - top
        total = np.zeros(n * n)
        for i, j, share in (
            (top, left, (1 - dy) * (1 - dx)),
            (top, left + 1, (1 - dy) * dx),
            (top + 1, left, dy * (1 - dx)),
            (top + 1, left + 1, dy * dx),
        ):
            inside = (i >= 0) & (i < n) & (j >= 0) & (j < n)
            total += np.bincount(i[inside] * n + j[inside], (mass * share)[inside], minlength=n * n)
        return total.reshape(n, n).astype(np.float32)

    def ellipse(self, u: float, v: float, ru: float, rv: float, tilt: float = 0.0) -> np.ndarray:
        """Squared normalized radius about (u, v): below 1 inside the ellipse; (n, n) float32."""
        du, dv = self.u - np.float32(u), self.v - np.float32(v)
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        return ((cos * du + sin * dv) / np.float32(ru)) ** 2 + ((cos * dv - sin * du) / np.float32(rv)) ** 2

    def develop(self, density: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Density (path attenuation, air 0, soft tissue about 1) -> (size, size) uint8 film.

        Screen-film and detectors answer to the logarithm of exposure, which is linear in path density;
        the toe and shoulder are a logistic curve. Grain is stronger where fewer photons arrive.
        """
        pose = self.pose
        n, f = self.size, self.factor
        density = density.reshape(n, f, n, f).mean(axis=(1, 3))
        if pose.blur > 0:
            density = gaussian_filter(density, pose.blur * 0.7 * np.sqrt(n / 64))
        gray = sigmoid(pose.contrast * (density - 0.88 - pose.exposure))
        gray = 1.06 * gray - 0.04
        grain = gaussian_filter(rng.standard_normal((n, n), dtype=np.float32), 0.3 * np.sqrt(n / 64))
        grain *= pose.noise / max(float(grain.std()), 1e-6)
        gray += grain * (0.5 + gray)
        return np.round(np.clip(gray, 0.0, 1.0) * 255.0).astype(np.uint8)
