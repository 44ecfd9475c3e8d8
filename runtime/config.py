"""Settings as JSON and back, and which of them decide a result: (nested) frozen dataclasses, config.json."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dacite

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from typing_extensions import TypeIs

_IDENTITY = "identity"


def setting(default: Any = dataclasses.MISSING, *, identity: bool = True, **options: Any) -> Any:
    """A field of a config. `identity=False` marks one that does not decide the result: where it goes, how
    often it is saved, by how many processes. Runs that differ in such settings alone are the same run."""
    return dataclasses.field(default=default, metadata={_IDENTITY: identity}, **options)


def is_config(value: object) -> "TypeIs[DataclassInstance]":
    """Whether a value is a group of settings."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def list_passing(config: "DataclassInstance", prefix: str = "") -> Iterator[str]:
    """Dotted names of the settings that do not decide the result."""
    for field in dataclasses.fields(config):
        if not field.metadata.get(_IDENTITY, True):
            yield prefix + field.name
        elif is_config(value := getattr(config, field.name)):
            yield from list_passing(value, f"{prefix}{field.name}.")


def to_dict(config: "DataclassInstance") -> dict[str, Any]:
    """A (nested) dataclass as plain JSON values."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def list_defaults(config: "DataclassInstance") -> dict[str, Any]:
    """Dotted name -> default as a plain JSON value, of the settings of a (nested) dataclass that have one."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        elif is_config(value := getattr(config, field.name)):
            default = list_defaults(value)
        else:
            continue
        if is_config(default):
            default = dataclasses.asdict(default)
        found[field.name] = default
    return flatten(_plain(found))


def flatten(values: Mapping[str, Any], leave_out: Iterable[str] = ()) -> dict[str, Any]:
    """Nested settings as dotted name -> value, without those (or the groups) that are left out."""
    names, flat = set(leave_out), dict[str, Any]()

    def walk(entries: Mapping[str, Any], prefix: str) -> None:
        for name, value in entries.items():
            if prefix + name in names:
                continue
            if isinstance(value, dict):
                walk(value, f"{prefix}{name}.")
            else:
                flat[prefix + name] = value

    walk(values, "")
    return flat


def list_changed(
    before: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> list[str]:
    """Names under which two sets of settings differ.

    Args:
        defaults: name -> what a setting was before there was one: what was saved without it had that.
    """
    before, now = {**(defaults or {}), **before}, {**(defaults or {}), **now}
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def from_dict(default: Any, values: dict[str, Any], where: str) -> Any:
    """`default` (a dataclass instance) with the values of a saved config.

    Args:
        where: the file the values came from, for the message.

    Raises:
        ValueError: a setting that there is not, or a value of another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: settings are missing or damaged")
    hooks = {Path: _as_path, int: _as_number, float: _as_number}
    reading = dacite.Config(strict=True, cast=[tuple], type_hooks=hooks)
    try:
        return dacite.from_dict(type(default), _merge(to_dict(default), values), reading)
    except dacite.UnexpectedDataError as error:
        raise ValueError(f"{where}: unknown setting(s) {', '.join(sorted(error.keys))}") from None
    except (dacite.DaciteError, TypeError) as error:  # TypeError: of a check of the class
        raise ValueError(f"{where}: {error}") from None


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _as_number(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 0 or 1
        raise dacite.WrongTypeError(field_type=float, value=value)
    return value


def _merge(start: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`start` with the changes, within its parts too."""
    merged = dict(start)
    for name, value in changes.items():
        within = isinstance(value, dict) and isinstance(start.get(name), dict)
        merged[name] = _merge(start[name], value) if within else value
    return merged
