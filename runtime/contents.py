"""Models and data known by their content: a copy, a move or a touch changes nothing."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.config import flatten, list_passing, to_dict
from runtime.files import file_hash

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WEIGHT_SUFFIXES = (".safetensors", ".bin")  # .bin: OpenCLIP folders of older date
_MODEL_SUFFIXES = (*WEIGHT_SUFFIXES, ".json", ".txt", ".model", ".jinja")
_TABLES = ("metadata.csv", "metadata.parquet")


def model_hash(folder: str | Path) -> str:
    """Hash of a model folder's weights, configs and tokenizer by content.

    Raises:
        ValueError: the folder holds no safetensors file.
    """
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix in _MODEL_SUFFIXES and path.is_file())
    if not any(path.suffix in WEIGHT_SUFFIXES for path in files):
        raise ValueError(f"{folder} holds no .safetensors weights; is it a save_pretrained folder?")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()[:16]


def hash_content(path: Path) -> str | None:
    """Hash of a file, of a finished run or model folder, or of a pairs folder's table; None for all else."""
    try:
        if path.is_file():
            return file_hash(path)[:16]
        for name in _TABLES:
            if (path / name).is_file():
                return file_hash(path / name)[:16]
        model = path / "model" if (path / "model").is_dir() else path
        return model_hash(model) if (model.is_dir() and any(model.rglob("*.safetensors"))) else None
    except OSError:
        return None


def identify(config: "DataclassInstance") -> dict[str, Any]:
    """The settings that decide a result, dotted name -> value, files and folders by their content."""
    passing = frozenset(list_passing(config))
    return flatten(to_dict(config), passing) | hash_contents(flatten(dataclasses.asdict(config), passing))


def hash_contents(settings: Mapping[str, Any]) -> dict[str, str]:
    """Name -> hash, of the settings that name a file or folder which is there: paths, and text with a "/"."""
    paths = {
        name: Path(value)
        for name, value in settings.items()
        if isinstance(value, Path) or (isinstance(value, str) and "/" in value)
    }
    hashes = {name: hash_content(path) for name, path in paths.items()}
    return {name: digest for name, digest in hashes.items() if digest}
