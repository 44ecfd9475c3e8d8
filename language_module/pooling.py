"""Encoder states (B, T, D) -> K report embeddings (B, K, D)."""

import torch
from torch import nn
from torch.nn import functional

POOLINGS = ("mean", "bos", "eos", "learned")


class StatePooler(nn.Module):
    """Pools the BART encoder's states of a report into K embeddings.

    `mean`, `bos` and `eos` are the paper's (CXR-IRGen, WACV 2024): K = 1, no weights. `learned` lets K
    query tokens read the states by cross-attention, as in a Perceiver resampler (Jaegle et al., 2021).

    Args:
        normalize: LayerNorm without affine on each embedding. A prior then regresses a target of fixed
            scale, and the model cannot outgrow the noise that is added to its embeddings in training.
    """

    def __init__(
        self,
        pooling: str,
        num_embeddings: int,
        dim: int,
        depth: int = 2,
        num_heads: int = 4,
        dropout: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        check_pooling(pooling, num_embeddings)
        self.pooling, self.normalize = pooling, normalize
        if pooling == "learned":
            self.queries = nn.Parameter(torch.randn(num_embeddings, dim) * dim**-0.5)
            layer = nn.TransformerDecoderLayer(
                dim, num_heads, 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            self.reader = nn.TransformerDecoder(layer, depth)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """
        Args:
            states: (B, T, D) encoder states, padded on the right.
            attention_mask: (B, T), 1 for real tokens.

        Returns:
            (B, K, D) float32.
        """
        if self.pooling == "learned":
            queries = self.queries.expand(len(states), -1, -1)
            pooled = self.reader(queries, states, memory_key_padding_mask=attention_mask == 0)
        elif self.pooling == "bos":
            pooled = states[:, :1]
        elif self.pooling == "eos":
            last = attention_mask.sum(dim=1) - 1
            pooled = states[torch.arange(len(states), device=states.device), last].unsqueeze(1)
        else:
            weights = attention_mask.to(states.dtype).unsqueeze(-1)
            pooled = (states * weights).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True)
        pooled = pooled.float()
        return functional.layer_norm(pooled, pooled.shape[-1:]) if self.normalize else pooled


def check_pooling(pooling: str, num_embeddings: int) -> None:
    """Raise ValueError for a pooling that does not exist or cannot give this many embeddings."""
    if pooling not in POOLINGS:
        raise ValueError(f"--pooling {pooling!r}: choose one of {', '.join(POOLINGS)}")
    if pooling != "learned" and num_embeddings != 1:
        raise ValueError(
            f"--num-embeddings {num_embeddings} with --pooling {pooling}: that gives 1 embedding; "
            "use --pooling learned for more"
        )
    if not 1 <= num_embeddings <= 32:
        raise ValueError(f"--num-embeddings {num_embeddings}: must be 1 to 32")
