"""Settings as JSON and back: a (nested) frozen dataclass <-> the plain values of config.json."""

import dataclasses
from pathlib import Path
from typing import Any


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
    """`default` (a dataclass instance) with the values of a saved config. Unknown keys are an error.

    Args:
        where: the file the values came from, for the message.
    """
    known = {field.name: field for field in dataclasses.fields(default)}
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
    return dataclasses.replace(default, **changes)
