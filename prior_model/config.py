"""Settings of the prior: what the scripts' flags are made of. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PriorLossConfig:
    """Weights of the losses; the mean squared error has weight `mse_weight`."""

    mse_weight: float = 1.0
    """Mean squared error of the embeddings."""
    cosine_weight: float = 0.01
    """1 - cosine similarity, as the paper weights it."""
    decoder_loss_weight: float = 0.0
    """Cross-entropy of the report through the frozen codec's decoder: what counts in the end."""
    decoder_items: int = 0
    """Items of each batch that the decoder's loss is taken on, to save time; 0 takes all."""
    findings_weight: float = 0.0
    """Binary cross-entropy of the findings that the prior also predicts; needs --num-findings 14."""
