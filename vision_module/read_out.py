"""The loss of labels that are read off an embedding or a film, where some of them are not known."""

import torch
from torch.nn import functional as F


def read_out_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of logits (B, K) and targets (B, K) in 0..1; those that are NaN, or below 0,
    are left out, and 0 is the loss of none."""
    known = targets >= 0
    known_or_0 = targets.nan_to_num().clamp_min(0)
    losses = F.binary_cross_entropy_with_logits(logits, known_or_0, reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)
