"""Training state in one safetensors file: tensors as tensors, all else as JSON in its header; no pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

_TENSOR, _ITEMS = "$tensor", "$items"  # in the JSON: a tensor's name; a dict whose keys are no strings
_KEY = "state"


def save_state(path: Path, state: Any) -> None:
    """Write nested dicts and lists of tensors, numbers, strings, booleans and None; tuples become lists.

    Weights that are tied (the same memory under two names) are written once.

    Raises:
        TypeError: the state holds something else.
    """
    tensors: dict[str, torch.Tensor] = {}
    names: dict[Any, str] = {}

    def describe(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            memory = (value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else value
            if memory not in names:
                names[memory] = str(len(names))
                # A copy: what is a view of another tensor shares its memory, which the format refuses.
                tensors[names[memory]] = value.detach().to("cpu", copy=True).contiguous()
            return {_TENSOR: names[memory]}
        if isinstance(value, dict):
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {key: describe(entry) for key, entry in value.items()}
            return {_ITEMS: [[describe(key), describe(entry)] for key, entry in value.items()]}
        if isinstance(value, list | tuple):
            return [describe(entry) for entry in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a {type(value).__name__} cannot be written into a training state")

    text = json.dumps(describe(state))
    save_file(tensors, path, metadata={_KEY: text})


def load_state(path: Path) -> Any:
    """What `save_state` wrote, its tensors on the CPU.

    Raises:
        ValueError, KeyError, TypeError, SafetensorError: the file is damaged or of another kind.
    """
    with safe_open(path, "pt") as file:

        def restore(value: Any) -> Any:
            if isinstance(value, list):
                return [restore(entry) for entry in value]
            if not isinstance(value, dict):
                return value
            if _TENSOR in value:
                return file.get_tensor(value[_TENSOR])
            if _ITEMS in value:
                return {restore(key): restore(entry) for key, entry in value[_ITEMS]}
            return {key: restore(entry) for key, entry in value.items()}

        return restore(json.loads(file.metadata()[_KEY]))
