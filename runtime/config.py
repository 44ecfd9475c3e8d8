"""Settings as JSON and back, and which of them decide a result: (nested) frozen dataclasses, config.json."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_IDENTITY = "identity"


def setting(default: Any = dataclasses.MISSING, *, identity: bool = True, **options: Any) -> Any:
    """A field of a config. `identity=False` marks one that does not decide the result: where it goes, how
    often it is saved, by how many processes. Runs that differ in such settings alone are the same run."""
    return dataclasses.field(default=default, metadata={_IDENTITY: identity}, **options)


def list_passing(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of the settings that do not decide the result."""
    for field in dataclasses.fields(config):
        if not field.metadata.get(_IDENTITY, True):
            yield prefix + field.name
        elif dataclasses.is_dataclass(value := getattr(config, field.name)):
            yield from list_passing(value, f"{prefix}{field.name}.")


def to_dict(config: Any) -> dict[str, Any]:
    """A (nested) dataclass as plain JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [plain(entry) for entry in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(config))


def flatten(values: Mapping[str, Any], leave_out: Iterator[str] | tuple[str, ...] = ()) -> dict[str, Any]:
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


def list_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names under which two sets of settings differ."""
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def from_dict(default: Any, values: dict[str, Any], where: str) -> Any:
    """`default` (a dataclass instance) with the values of a saved config. Unknown keys are an error.

    Args:
        where: the file the values came from, for the message.
    """
    known = {field.name: field for field in dataclasses.fields(default)}
    if not isinstance(values, dict):
        raise ValueError(f"{where}: settings are missing or damaged; known: {', '.join(known)}")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown setting(s) {', '.join(unknown)}; known: {', '.join(known)}")
    changes: dict[str, Any] = {}
    for name, value in values.items():
        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            value = from_dict(current, value, where)
        elif isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and ("Path" in str(known[name].type)):
            value = Path(value)
        changes[name] = value
    try:
        return dataclasses.replace(default, **changes)
    except TypeError as error:  # a number in the place of a text, which a check of the class compares
        raise ValueError(f"{where}: a setting of the wrong kind ({error})") from None
