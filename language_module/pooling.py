"""Encoder states (B, T, D) -> K report embeddings (B, K, D)."""

import torch
from torch import nn
from torch.nn import functional

from language_module.config import check_pooling


class StatePooler(nn.Module):
    """Pools the BART encoder's states of a report into K embeddings.

    `mean`, `bos` and `eos` are the paper's (CXR-IRGen, WACV 2024): K = 1, no weights. `learned` lets K
    query tokens read the states by cross-attention, as in a Perceiver resampler (Jaegle et al., 2021).

    Args:
        normalize: LayerNorm without affine on each embedding. A prior then regresses a target of fixed
            scale, and the model cannot outgrow the noise that is added to its embeddings in training.
        segments: query k of `learned` looks at the k-th of K equal parts of the report (and less at its
            neighbors, by a Gaussian bias of the attention), so that each embedding has a task of its own.
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
        segments: bool = False,
    ) -> None:
        super().__init__()
        check_pooling(pooling, num_embeddings)
        self.pooling, self.normalize, self.segments, self.num_heads = pooling, normalize, segments, num_heads
        if pooling == "learned":
            # With segments, the decoder has to tell the embeddings apart from the start.
            self.queries = nn.Parameter(torch.randn(num_embeddings, dim) * (1.0 if segments else dim**-0.5))
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
            bias = self._attention_bias(attention_mask).to(states.dtype)
            pooled = self.reader(queries, states, memory_mask=bias)
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

    def _attention_bias(self, attention_mask: torch.Tensor) -> torch.Tensor:
        """(B * heads, K, T): what is added to the attention scores; padding gets -inf."""
        num_queries = len(self.queries)
        bias = torch.zeros(
            len(attention_mask), num_queries, attention_mask.shape[1], device=attention_mask.device
        )
        if self.segments:
            centers = torch.arange(num_queries, device=bias.device) + 0.5
            places = segment_places(attention_mask, num_queries)
            bias = bias - (places[:, None, :] - centers[None, :, None]).square()
        bias = bias.masked_fill(attention_mask[:, None, :] == 0, -torch.inf)
        return bias.repeat_interleave(self.num_heads, dim=0)


def segment_places(attention_mask: torch.Tensor, num_segments: int) -> torch.Tensor:
    """(B, T) float: where each token lies when its report is `num_segments` long; 0.5 is inside the first."""
    lengths = attention_mask.sum(dim=1, keepdim=True)
    tokens = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (tokens + 0.5) * num_segments / lengths
