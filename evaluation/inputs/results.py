"""results.json of a scored folder, which tells whether it is as it was written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.files import DamagedFile, read_json, write_atomic
from runtime.sealed import DIGEST, seal, unseal

_OBJECTS = ("films", "reports", "pairs", "privacy", "conventions", "inputs", "versions")


def save_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write results with a digest of them, of plain values without NaN.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(path, json.dumps(seal(results), indent=2) + "\n")


def read_results(path: Path, fix: str = "score the folder again") -> dict[str, Any]:
    """The results of a folder, without their digest; those of before it was written have none.

    Raises:
        ValueError: the file is damaged, or was changed; names it and the fix.
    """
    results = read_json(path, fix)
    if DIGEST in results:
        if (written := unseal(results)) is None:
            raise DamagedFile(f"{path} is not as it was written (damaged, or edited by hand): {fix}")
        return written
    if not any(name in results for name in _OBJECTS):
        raise DamagedFile(f"{path} holds no results (damaged): {fix}")
    wrong = [name for name in _OBJECTS if not isinstance(results.get(name, {}), dict | None)]
    inputs = results.get("inputs") or {}
    wrong += [name for name in inputs if not isinstance(inputs[name], dict)] if not wrong else []
    if wrong:
        raise DamagedFile(f"{path}: {wrong[0]} is no section (damaged): {fix}")
    return results
