"""Random access to the films of a pairs folder: in memory where they fit, else decoded when asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from data_module.images import load_pixels

MEMORY_LIMIT = 2 * 1024**3  # bytes of films kept in memory


class Films(Protocol):
    """N films; `films[indices]` gives (B, size, size) uint8, as a `FilmStore` does."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: np.ndarray) -> np.ndarray: ...


class FilmStore:
    """`store[indices]` gives (N, size, size) uint8 pixels.

    Args:
        paths: files of the films, decoded, fitted and cropped to `size`.
        memory_limit: bytes; a larger set is decoded from disk at every access.
    """

    def __init__(self, paths: Sequence[Path], size: int, memory_limit: int = MEMORY_LIMIT) -> None:
        self.paths, self.size = list(paths), size
        self.pixels: np.ndarray | None = None
        if len(self.paths) * size * size <= memory_limit:
            self.pixels = np.empty((len(self.paths), size, size), dtype=np.uint8)
            starts = range(0, len(self.paths), 256)
            for start in tqdm(
                starts, desc="reading films", unit="x256", leave=False, disable=len(starts) < 8
            ):
                self.pixels[start : start + 256] = load_pixels(self.paths[start : start + 256], size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self.pixels is not None:
            return self.pixels[indices]
        return load_pixels([self.paths[index] for index in indices], self.size)
