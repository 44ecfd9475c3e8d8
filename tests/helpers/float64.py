"""Training in float64, so that one golden file fits every processor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

SHORTER = (torch.float32, torch.bfloat16, torch.float16)
CASTS = (torch.Tensor.float, torch.Tensor.bfloat16, torch.Tensor.half)


class _Widened(TorchFunctionMode):
    """Every function of torch that is asked for a shorter float, or given one, works in float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CASTS:
            return args[0].double()
        args, kwargs = tree_map(_widen, (args, kwargs or {}))
        return func(*args, **kwargs)


def _widen(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype in SHORTER:
        return value.double()
    return torch.float64 if isinstance(value, torch.dtype) and value in SHORTER else value


@contextmanager
def in_float64() -> Iterator[None]:
    """Inside, models are built and trained in float64, whatever precision the code asks for."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Widened():
            yield
    finally:
        torch.set_default_dtype(before)
