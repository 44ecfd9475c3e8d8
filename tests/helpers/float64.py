"""Work in float64, so that one bound, and one golden file, fits every processor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

SHORTER = (torch.float32, torch.bfloat16, torch.float16)
CASTS = (torch.Tensor.float, torch.Tensor.bfloat16, torch.Tensor.half)
BYTES = (torch.Tensor.view, torch.frombuffer)  # their type says what bytes mean


class _Widened(TorchFunctionMode):
    """A shorter float that is asked for is float64, and so is one that meets a float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CASTS:
            return args[0].double()
        kwargs = kwargs or {}
        if func not in BYTES:
            args, kwargs = tree_map(_long_dtype, (args, kwargs))
        dtypes = {value.dtype for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)}
        if torch.float64 in dtypes and dtypes.intersection(SHORTER) and not _changes_its_input(func):
            args, kwargs = tree_map(_long_tensor, (args, kwargs))
        result = func(*args, **kwargs)
        return _long_tensor(result) if func is torch.Tensor.to else result


def _long_dtype(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in SHORTER else value


def _long_tensor(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.dtype in SHORTER else value


def _changes_its_input(func: Any) -> bool:
    """add_, x[i] = y, x.data = y: a copy in float64 would take the change, and be forgotten."""
    name = getattr(func, "__name__", "")
    return name in ("__set__", "__setitem__") or (name.endswith("_") and not name.endswith("__"))


@contextmanager
def in_float64() -> Iterator[None]:
    """Inside, models are built and trained in float64, whatever precision the code asks for.

    Models that were built before are used in float64 too, where their input is.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Widened():
            yield
    finally:
        torch.set_default_dtype(before)
