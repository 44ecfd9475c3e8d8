"""Settings as JSON and back: a (nested) frozen dataclass <-> the plain values of config.json."""

import dataclasses
from pathlib import Path
from typing import Any

import dacite


def to_dict(config: Any) -> dict[str, Any]:
    """A (nested) dataclass as plain JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def from_dict(default: Any, values: dict[str, Any], where: str) -> Any:
    """`default` (a dataclass instance) with the values of a saved config.

    Args:
        where: the file the values came from, for the message.

    Raises:
        ValueError: a setting that there is not, or a value of another type.
    """
    reading = dacite.Config(strict=True, cast=[tuple], type_hooks={Path: _as_path})
    try:
        return dacite.from_dict(type(default), _merge(to_dict(default), values), reading)
    except dacite.UnexpectedDataError as error:
        raise ValueError(f"{where}: unknown setting(s) {', '.join(sorted(error.keys))}") from None
    except dacite.DaciteError as error:
        raise ValueError(f"{where}: {error}") from None


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _merge(start: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`start` with the changes, within its parts too."""
    merged = dict(start)
    for name, value in changes.items():
        within = isinstance(value, dict) and isinstance(start.get(name), dict)
        merged[name] = _merge(start[name], value) if within else value
    return merged
