"""How strong films are at each spatial frequency: what drawn films lack beside real ones, and giving it back.

A decoder trained on mean errors gives fine structure back too weakly: films drawn at 256 from Open-I had half
to a twentieth of the real films' power above .05 cycles a pixel. One gain for each frequency, measured on
training films, mends part of it, as a scanner's equalization does: lines that are there become as strong as
those of real films. What is not there is not made up.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data_module.images import load_pixels
from data_module.pairs import PairsFolder
from runtime.files import DamagedFile, read_json, write_atomic

BANDS = np.linspace(0.0, 0.71, 41)  # cycles a pixel, up to the corner of the spectrum
LOWEST = 0.02  # below it lies the anatomy, which is left as it is
FEWEST = 32  # films on a side
_MOST_AT_ONCE = 64


def measure_power(paths: Sequence[Path], size: int) -> np.ndarray:
    """Mean power of films at each band of radial frequency, (40,), as (size, size) under a Hann window."""
    window = np.outer(np.hanning(size), np.hanning(size))
    total = np.zeros((size, size))
    for start in range(0, len(paths), _MOST_AT_ONCE):
        films = load_pixels(paths[start : start + _MOST_AT_ONCE], size).astype(np.float64)
        films -= films.mean(axis=(1, 2), keepdims=True)
        total += (np.abs(np.fft.fft2(films * window)) ** 2).sum(axis=0)
    bands = np.digitize(_radii(size, size), BANDS[1:-1])
    power = np.bincount(bands.ravel(), total.ravel(), len(BANDS) - 1)
    return power / np.maximum(np.bincount(bands.ravel(), minlength=len(BANDS) - 1), 1) / len(paths)


def _radii(height: int, width: int) -> np.ndarray:
    """Radial frequency of each place of a 2-d FFT, in cycles a pixel."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])


@dataclass(frozen=True)
class Spectrum:
    """Gains of amplitudes at the middles of the bands, (40,), for films of one size."""

    gains: np.ndarray
    size: int

    @classmethod
    def measure(
        cls, drawn: PairsFolder, real: PairsFolder, split: str, max_films: int, limit: float
    ) -> "Spectrum":
        """What takes the drawn films' power to the real ones'; amplitudes by `limit` at most, up or down.

        Args:
            split: rows of the real films: those that the model learned from.

        Raises:
            ValueError: too few films on a side, films of several sizes, a film without fine structure.
        """
        sides = {
            "drawn": drawn.image_paths[:max_films],
            "real": [real.image_paths[row] for row in real.split_rows(split)[:max_films]],
        }
        for name, paths in sides.items():
            if len(paths) < FEWEST:
                raise ValueError(f"--{name} has {len(paths)} films to measure: at least {FEWEST} are needed")
        size = _common_size(sides["drawn"])
        power = {name: measure_power(paths, size) for name, paths in sides.items()}
        if not (power["drawn"] > 0).all():
            raise ValueError("--drawn: films of one gray each have no spectrum")
        gains = np.sqrt(power["real"] / power["drawn"]).clip(1 / limit, limit)
        return cls(np.where(BANDS[1:] <= LOWEST, 1.0, gains), size)

    def save(self, path: Path, source: dict[str, object]) -> None:
        """Write it as JSON, with what it was measured on."""
        content = {"size": self.size, "gains": [round(float(gain), 4) for gain in self.gains], **source}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Spectrum":
        """Raises ValueError for a file that is no spectrum."""
        content = read_json(path, "write it with `python -m data_module spectrum`")
        size, found = content.get("size"), content.get("gains")
        gains = found if isinstance(found, list) and all(map(_is_gain, found)) else []
        if len(gains) != len(BANDS) - 1 or not isinstance(size, int) or size < 8:
            raise DamagedFile(f"{path}: no spectrum of {len(BANDS) - 1} gains")
        return cls(np.asarray(gains, dtype=np.float64), size)

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, S, S) in [-1, 1] with these gains, cut to [-1, 1] again; their mean gray stays."""
        side, margin = images.shape[-1], self._margin
        if side != self.size:
            raise ValueError(f"a spectrum of films of {self.size} pixels a side does not fit films of {side}")
        padded = torch.nn.functional.pad(images.float(), (margin,) * 4, mode="reflect")
        response = self._response.to(padded.device)
        filtered = torch.fft.irfft2(torch.fft.rfft2(padded) * response, s=padded.shape[-2:])
        return filtered[..., margin:-margin, margin:-margin].clamp(-1.0, 1.0)

    @property
    def _margin(self) -> int:
        """Pixels by which films are mirrored beyond their edges."""
        return self.size // 8

    @cached_property
    def _response(self) -> torch.Tensor:
        """The gain of each place of a film's half 2-d FFT, with its margins."""
        side = self.size + 2 * self._margin
        middles = (BANDS[1:] + BANDS[:-1]) / 2
        response = np.interp(_radii(side, side)[:, : side // 2 + 1], middles, self.gains)
        response[0, 0] = 1.0
        return torch.as_tensor(response, dtype=torch.float32)


def _is_gain(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.01 <= value <= 100


def _common_size(paths: Sequence[Path]) -> int:
    from PIL import Image

    sizes = set()
    for path in (paths[0], paths[-1]):
        with Image.open(path) as film:
            sizes.add(film.size)
    (width, height), *others = sizes
    if others or width != height:
        raise ValueError("--drawn: films of one size, and square, are needed, as sample_pairs.py draws them")
    return width
