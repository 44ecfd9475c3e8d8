"""Facts (what a report is to assert) as tokens that the decoder reads beside the report embeddings."""

import torch
from torch import nn
from torch.nn import functional

from data_module.findings import FINDINGS
from data_module.labeler.attributes import NUM_ATTRIBUTES


class FactTokens(nn.Module):
    """Facts (B, NUM_FACTS) -> one token a finding, (B, 14, D) of the embeddings' own scale.

    An embedding is what a prior regresses, so it blurs: a decoder that reads of an effusion "left or right,
    small or large" words its two sections apart, each as it likes. A fact is decided once for both.

    An attribute that no training report tells (the side of a heart) starts at 0 and stays there: it says
    nothing, whatever is decided of it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        count = len(FINDINGS)
        self.findings = nn.Parameter(torch.randn(count, dim))
        self.present = nn.Parameter(torch.randn(count, dim))
        self.attributes = nn.Parameter(torch.zeros(count, NUM_ATTRIBUTES // count, dim))

    def forward(self, facts: torch.Tensor) -> torch.Tensor:
        """facts: 1 or 0, as `data_module.labeler.facts.read_facts`."""
        count = len(self.findings)
        present, told = facts[:, :count, None], facts[:, count:].unflatten(1, (count, -1))
        tokens = self.findings + present * self.present
        tokens = tokens + torch.einsum("bfa,fad->bfd", told.to(self.attributes), self.attributes)
        return functional.layer_norm(tokens.float(), tokens.shape[-1:])
