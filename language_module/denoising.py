"""Noise that a codec is trained under, so that an imprecise prediction still decodes to its report."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Denoising:
    """Training noise of the codec; none of it is used after training."""

    token_mask_rate: float = 0.1
    """Share of input tokens replaced by <mask> before the encoder (BART's token masking)."""
    embedding_noise: float = 0.2
    """Standard deviation of the Gaussian noise on the embeddings, whose own scale is 1."""
    decoder_mask_rate: float = 0.1
    """Share of previous tokens hidden from the decoder (word dropout, Bowman et al., 2016)."""

    def __post_init__(self) -> None:
        for name in ("token_mask_rate", "decoder_mask_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be in 0..1")
        if self.embedding_noise < 0.0:
            raise ValueError(f"--embedding-noise {self.embedding_noise}: must be 0 or more")


NO_DENOISING = Denoising(0.0, 0.0, 0.0)


def mask_tokens(
    input_ids: torch.Tensor,
    rate: float,
    tokenizer: PreTrainedTokenizerBase,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Token ids (B, T) with `rate` of the words' tokens replaced by <mask>; special tokens stay."""
    if not rate:
        return input_ids
    special = torch.tensor(tokenizer.all_special_ids, device=input_ids.device)
    hidden = torch.rand(input_ids.shape, generator=generator, device=input_ids.device) < rate
    return torch.where(hidden & ~torch.isin(input_ids, special), tokenizer.mask_token_id, input_ids)


def add_noise(values: torch.Tensor, scale: float, generator: torch.Generator | None) -> torch.Tensor:
    """`values` plus Gaussian noise of this standard deviation."""
    if not scale:
        return values
    noise = torch.randn(values.shape, generator=generator, device=values.device, dtype=values.dtype)
    return values + scale * noise
