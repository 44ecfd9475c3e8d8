"""results.json of a scored folder."""

from pathlib import Path
from typing import Any

from runtime.files import DamagedFile, read_json

_OBJECTS = ("films", "reports", "pairs", "privacy", "conventions", "inputs", "versions")


def read_results(path: Path, fix: str = "score the folder again") -> dict[str, Any]:
    """The results of a folder.

    Raises:
        ValueError: the file is damaged; names it and the fix.
    """
    results = read_json(path, fix)
    wrong = [name for name in _OBJECTS if not isinstance(results.get(name, {}), dict | None)]
    inputs = results.get("inputs") or {}
    wrong += [name for name in inputs if not isinstance(inputs[name], dict)] if not wrong else []
    if wrong:
        raise DamagedFile(f"{path}: {wrong[0]} is no section (damaged): {fix}")
    return results
