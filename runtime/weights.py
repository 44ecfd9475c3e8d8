"""Weights from anyone's file or folder: no code in them is run, and every tensor has its place and is finite.

transformers fills what a file lacks with random numbers and warns; torch's advice for a file that holds code
is to run it. Everything of ours that loads weights goes through here instead.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import torch
from safetensors.torch import load_file
from torch import nn

from runtime.files import DamagedFile, read_json, reading
from runtime.wording import shorten

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from transformers import PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

Weights = dict[str, torch.Tensor]
Model = TypeVar("Model", bound=nn.Module)
Found = TypeVar("Found", bound="nn.Module | SchedulerMixin | dict[str, Any]")


_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
_LIBRARY_NAME = re.compile(r"(model|pytorch_model|diffusion_pytorch_model)[.-]")  # what else is there is ours
_MAX_LAYERS = 1000  # of a config; building a million of them takes a day
_MAX_WEIGHTS_A_BYTE, _ALWAYS_BELIEVED = 4, 10_000_000  # weights of a config, by the size of its files
_MAX_UNPACKED = 20  # times the size of a packed file; torch does not pack its own
_MAX_NESTING = 4  # of `state_dict` in `state_dict`, which may hold itself


def read_weights(path: Path, expected: str) -> Weights:
    """Name -> tensor of a .safetensors file, or of a pickled one (.pth, .pt, .bin, .ckpt).

    Pickles are read with `weights_only=True`, so no code in them runs. The `state_dict` of a Lightning or
    LDM checkpoint is taken out of it.

    Args:
        expected: what the file should hold, for the message.

    Raises:
        ValueError: the file is missing, cannot be read, or holds something other than finite tensors.
    """
    content = read_pickle(path, expected) if path.suffix != ".safetensors" else read_tensors(path, expected)
    for _ in range(_MAX_NESTING):
        if isinstance(content, Mapping) and "state_dict" in content:
            content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        found = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            found = f"a dict with the keys {', '.join(list(map(str, content))[:5])}"
        raise DamagedFile(f"{path}: expected {expected}, found {found}")
    weights = {str(name): value for name, value in content.items()}
    check_finite(weights, path)
    return weights


def read_tensors(path: Path, expected: str) -> Weights:
    """Name -> tensor of a .safetensors file, whatever its values; ValueError where it cannot be read."""
    _check_file(path, expected)
    with reading(path, f"expected {expected}, found a file that"):
        return load_file(path)


def read_pickle(path: Path, expected: str, allowed: tuple[type, ...] = ()) -> Any:
    """What a file of `torch.save` holds: plain values, tensors, and objects of the allowed classes.

    Raises:
        ValueError: the file is missing, cannot be read, or holds anything else.
    """
    _check_file(path, expected)
    with reading(path, f"expected {expected}, found a file that"):
        source: Path | io.BytesIO = path
        if not zipfile.is_zipfile(path):  # of old, or no such file: any length in it would be made room for
            source = io.BytesIO(path.read_bytes())
        else:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > _MAX_UNPACKED * path.stat().st_size:
                raise ValueError(f"it would unpack to {size / 1e9:.1f} GB")
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(source, map_location="cpu", weights_only=True)


def drop_unused(found: Found | tuple[Found, dict[str, Any]]) -> Found:
    """What diffusers gives, without the settings that it would add where they are asked for."""
    return found[0] if isinstance(found, tuple) else found


@overload
def load_pretrained(
    model_class: type[Model], source: str | Path, optional: str = "", subfolder: str = "", **options: Any
) -> Model: ...
@overload
def load_pretrained(
    model_class: "type[_BaseAutoModelClass]",
    source: str | Path,
    optional: str = "",
    subfolder: str = "",
    **options: Any,
) -> "PreTrainedModel": ...
def load_pretrained(
    model_class: Any, source: str | Path, optional: str = "", subfolder: str = "", **options: Any
) -> Any:
    """`model_class.from_pretrained(source)` of transformers or diffusers, strict, in eval mode.

    The weights are of torch's default float, whatever the files hold, unless an option says another.

    Args:
        source: folder or hub name; files of the variant fp16 are taken where there are no others.
        optional: regular expression for names of weights that may be missing, and are then new.

    Raises:
        ValueError: a file or folder that is not there or damaged, a tensor that is missing, of another shape
            or not finite.
    """
    where = f"{source}/{subfolder}" if subfolder else str(source)
    options |= {"subfolder": subfolder} if subfolder else {}
    if Path(source).is_dir():
        options |= _check_folder(Path(source), subfolder)
        _check_size(model_class, Path(source, subfolder))
    theirs = model_class.__module__.startswith("transformers.")
    options.setdefault("dtype" if theirs else "torch_dtype", torch.get_default_dtype())  # each names it
    with reading(where, f"the {model_class.__name__}"):
        model, info = model_class.from_pretrained(source, output_loading_info=True, **options)
    missing = [name for name in info["missing_keys"] if not (optional and re.search(optional, name))]
    missing += [str(entry[0] if isinstance(entry, tuple) else entry) for entry in info["mismatched_keys"]]
    if missing:
        raise DamagedFile(f"{where}: its weights lack {shorten(sorted(missing))}, or in that shape")
    check_finite(model.state_dict(), where)
    return model.eval()


def _check_folder(source: Path, subfolder: str) -> dict[str, Any]:
    """Options that a local folder needs; ValueError for what a library would not say, or not survive."""
    folder = source / subfolder
    if not folder.is_dir():
        raise DamagedFile(f"{source} has no folder {subfolder}/: a whole model folder is needed")
    _check_config(folder / "config.json")
    files = [path for path in folder.iterdir() if path.suffix in _SUFFIXES]
    for path in files:
        _check_file(path, "weights")
    of_library = [path for path in files if _LIBRARY_NAME.match(path.name)]
    half = [".fp16." in path.name for path in of_library]
    return {"variant": "fp16"} if half and all(half) else {}


def _check_config(path: Path) -> None:
    """Raise ValueError for a config that is no JSON object, or that names layers without end."""
    for name, value in _numbers(read_json(path, "a whole model folder is needed")):
        if re.search(r"layer|depth|block", name) and "channels" not in name and value > _MAX_LAYERS:
            raise DamagedFile(f"{path}: {name} is {value:.3g}; at most {_MAX_LAYERS} are believed")


def _check_size(model_class: Any, folder: Path) -> None:
    """Raise ValueError for a config of far more weights than its files hold: room would be made first.

    A config that cannot be built without memory is left to the library.
    """
    held = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in _SUFFIXES)
    try:
        with torch.device("meta"):
            if hasattr(model_class, "load_config"):  # diffusers
                model = model_class.from_config(model_class.load_config(folder))
            elif hasattr(model_class, "config_class"):
                model = model_class(model_class.config_class.from_pretrained(folder))
            else:  # transformers' AutoModelFor...
                from transformers import AutoConfig

                model = model_class.from_config(AutoConfig.from_pretrained(folder))
        described = sum(weight.numel() for weight in model.parameters())
    except Exception:
        return
    if described > _MAX_WEIGHTS_A_BYTE * held + _ALWAYS_BELIEVED:
        raise DamagedFile(
            f"{folder / 'config.json'}: describes {described:,} weights, where the files beside it have "
            f"{held:,} bytes (damaged)"
        )


def _numbers(config: Mapping[str, Any] | list[Any], name: str = "") -> Iterator[tuple[str, float]]:
    for key, value in config.items() if isinstance(config, Mapping) else enumerate(config):
        inner = key if isinstance(key, str) else name
        if isinstance(value, Mapping | list):
            yield from _numbers(value, inner)
        elif isinstance(value, int | float):
            yield inner, value


def _check_file(path: Path, expected: str) -> None:
    """Raise ValueError for a file that is not there, or is what a failed download leaves."""
    if not path.is_file():  # a pipe would be waited for, for ever
        raise DamagedFile(f"{path}: no such file; expected {expected}")
    with reading(path), path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    found = ""
    if not head:
        found = "an empty file"
    elif head.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer to it: get the file itself with `git lfs pull`"
    elif head.startswith((b"<!doctype", b"<html", b"<?xml")):
        found = "a web page: what was downloaded is the page about the file, or a page of refusal"
    if found:
        raise DamagedFile(f"{path}: expected {expected}, found {found}")


def check_finite(weights: Mapping[str, Any], where: str | Path) -> None:
    """Raise ValueError for weights with a value that is not finite: one makes every film black."""
    for name, value in weights.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.is_meta:
            continue
        # The sum shows one, and takes no memory; where it overflows, all values are asked.
        if not value.sum(dtype=torch.float32).isfinite() and not value.isfinite().all():
            raise DamagedFile(f"{where}: the tensor {name} holds values that are not finite (damaged)")


def load_part(part: nn.Module, path: Path, expected: str) -> None:
    """Fill a module from a file that holds its tensors and no others. Raises ValueError for another file."""
    load_exactly(part, read_weights(path, expected), path, expected)


def take(weights: Weights, prefix: str) -> Weights:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def load_exactly(model: nn.Module, weights: Weights, path: Path, expected: str) -> str:
    """Load weights that must fit the model name by name.

    Returns:
        A line that says what was loaded.

    Raises:
        ValueError: names that are missing, unexpected, or of another shape.
    """
    own = model.state_dict()
    missing, unexpected = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [
        f"{name} {tuple(weights[name].shape)} in the place of {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(weights))
        if weights[name].shape != own[name].shape
    ]
    if missing or unexpected or wrong:
        parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        found = "; ".join(f"{title}: {shorten(names)}" for title, names in parts if names)
        raise DamagedFile(
            f"{path}: expected {expected}, {len(own)} tensors; found {len(weights)}, and of them {found}"
        )
    model.load_state_dict(weights)
    return f"{expected}: all {len(own)} tensors loaded"
