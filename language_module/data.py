"""Reports as training batches."""

from collections.abc import Sequence

import numpy as np
import torch

from data_module.film_check import describe_maps
from data_module.film_store import Films
from data_module.images import shift_films, to_images
from language_module.codec import ReportCodec
from language_module.report_gpt import ReportGPT

# Few distinct widths, so that the kernels' primitives are found again.
WIDTH_STEP = 16
LENGTH_SPREAD = 0.1  # of the lengths' order, relative: a report meets others in each epoch


class ReportSource:
    """Tokenized reports, batch by batch: input_ids and attention_mask, (B, T) int64.

    Args:
        bucket_lengths: a batch holds the reports that are about as long as the first one asked for. Real
            reports differ so much that half of a batch is padding otherwise.
    """

    def __init__(self, codec: ReportCodec, reports: Sequence[str], bucket_lengths: bool = False) -> None:
        self.input_ids, self.attention_mask = codec.tokenize(reports)
        self.lengths = self.attention_mask.sum(dim=1)
        self.bucket_lengths = bucket_lengths

    def __len__(self) -> int:
        return len(self.input_ids)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The reports of these rows, as wide as the longest of them."""
        if self.bucket_lengths:
            indices = self._find_company(int(indices[0]), len(indices), generator)
        width = -(-int(self.lengths[indices].max()) // WIDTH_STEP) * WIDTH_STEP
        return {
            "input_ids": self.input_ids[indices, :width],
            "attention_mask": self.attention_mask[indices, :width],
        }

    def _find_company(self, first: int, size: int, generator: torch.Generator) -> np.ndarray:
        """`size` rows in a row, `first` among them, of the reports in order of (about) their lengths."""
        noise = torch.randn(len(self), generator=generator)
        order = torch.argsort(self.lengths * (1.0 + LENGTH_SPREAD * noise))
        place = int((order == first).nonzero())
        start = min(max(0, place - size // 2), max(0, len(self) - size))
        return order[start : start + size].numpy()


class ReportFilmSource:
    """Films and their tokenized reports: images (B, 1, S, S) in [-1, 1], input_ids and attention_mask (B, T).

    Args:
        max_shift: films are moved by up to this many pixels each way, with the edge repeated.
    """

    def __init__(self, model: ReportGPT, films: Films, reports: Sequence[str], max_shift: int = 0) -> None:
        self.films, self.max_shift = films, max_shift
        self.input_ids, self.attention_mask = model.tokenize(reports)
        self.lengths = self.attention_mask.sum(dim=1)

    def __len__(self) -> int:
        return len(self.films)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The films and reports of these rows."""
        images = to_images(self.films[indices])
        if self.max_shift:
            images = shift_films(images, self.max_shift, generator)
        width = -(-int(self.lengths[indices].max()) // WIDTH_STEP) * WIDTH_STEP
        return {
            "images": images,
            "input_ids": self.input_ids[indices, :width],
            "attention_mask": self.attention_mask[indices, :width],
        }


@torch.no_grad()
def describe_films(model: ReportGPT, films: Films) -> np.ndarray:
    """(N, D): what the film check knows of the films that the model was trained on."""
    parts = []
    for start in range(0, len(films), 64):
        images = to_images(films[np.arange(start, min(start + 64, len(films)))])
        parts.append(describe_maps(model.encoder(images.to(model.device)).float().cpu().numpy()))
    return np.concatenate(parts)
