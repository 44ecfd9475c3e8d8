"""What the autoencoder trains on: whole films."""

import numpy as np
import torch

from data_module.film_store import FilmStore
from data_module.images import to_images
from data_module.pairs import PairsFolder


class ShiftedFilms:
    """Whole films as images (B, 1, S, S) in [-1, 1], shifted a little: a film is not cropped to the pixel."""

    def __init__(self, pairs: PairsFolder, image_size: int, max_shift: int) -> None:
        self.store = FilmStore(pairs.image_paths, image_size)
        self.max_shift = max_shift

    def __len__(self) -> int:
        return len(self.store)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        images = to_images(self.store[indices])
        if self.max_shift:
            low, high = -self.max_shift, self.max_shift + 1
            shifts = torch.randint(low, high, (2,), generator=generator).tolist()
            padded = torch.nn.functional.pad(images, (self.max_shift,) * 4, mode="replicate")
            top, left = (self.max_shift + shift for shift in shifts)
            side = images.shape[-1]
            images = padded[..., top : top + side, left : left + side]
        return {"images": images}
