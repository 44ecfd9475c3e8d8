"""Reports as training batches."""

from collections.abc import Sequence

import numpy as np
import torch

from language_module.codec import ReportCodec

# Few distinct widths, so that the kernels' primitives are found again.
WIDTH_STEP = 16


class ReportSource:
    """Tokenised reports, batch by batch: input_ids and attention_mask, (B, T) int64."""

    def __init__(self, codec: ReportCodec, reports: Sequence[str]) -> None:
        self.input_ids, self.attention_mask = codec.tokenize(reports)
        self.pad_token_id = codec.tokenizer.pad_token_id

    def __len__(self) -> int:
        return len(self.input_ids)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The reports of these rows, as wide as the longest of them."""
        mask = self.attention_mask[indices]
        width = -(-int(mask.sum(dim=1).max()) // WIDTH_STEP) * WIDTH_STEP
        return {
            "input_ids": self.input_ids[indices, :width],
            "attention_mask": mask[:, :width],
        }
