"""Noise that a codec is trained under, so that an imprecise prediction still decodes to its report."""

import torch
from transformers import PreTrainedTokenizerBase

from language_module.tokenizer import special_id


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
    return torch.where(
        hidden & ~torch.isin(input_ids, special), special_id(tokenizer, "mask_token_id"), input_ids
    )


def add_noise(values: torch.Tensor, scale: float, generator: torch.Generator | None) -> torch.Tensor:
    """`values` plus Gaussian noise of this standard deviation."""
    if not scale:
        return values
    noise = torch.randn(values.shape, generator=generator, device=values.device, dtype=values.dtype)
    return values + scale * noise
