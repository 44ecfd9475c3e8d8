"""Whether a tokenizer is its model's: a damaged one may load, and fail or give other tokens when asked."""

from collections.abc import Sequence
from typing import Any

_PROBE = "Effusion."


def check_tokenizer(tokenizer: Any, vocab_size: int, needed: Sequence[str] = ()) -> None:
    """Raise ValueError for one without a needed token, or with one that the model has no embedding of.

    Args:
        tokenizer: of transformers.
        needed: special tokens by their attributes, such as "pad_token".
    """
    for name in needed:
        if getattr(tokenizer, f"{name}_id") is None:
            raise ValueError(f"it has no {name}")
    ids = [*getattr(tokenizer, "all_special_ids", ()), *tokenizer(_PROBE)["input_ids"]]
    if max(ids) >= vocab_size:
        raise ValueError(f"it has tokens from {vocab_size:,} on, which its model does not know")
