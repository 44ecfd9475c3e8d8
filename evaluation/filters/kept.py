"""What a synthetic folder says of the draws that were rejected for it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.files import read_json

MIN_ASKED = 5  # items of a finding, below which nothing is said of it


def read_kept(folder: Path) -> dict[str, Any] | None:
    """`tests` and the counts of a filtered folder (`sample_pairs.py --keep`); None for any other."""
    path = folder / "provenance.json"
    record = read_json(path) if path.is_file() else {}
    kept = record.get("kept")
    if not isinstance(kept, dict):
        return None
    return {"tests": record.get("config", {}).get("keep", {}).get("keep", []), **kept}


def find_lost(kept: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Finding -> (items that pass, items asked for), where less than half of MIN_ASKED items or more do."""
    found = {name: (left, asked) for name, (left, asked) in kept["kept_by_finding"].items()}
    return {name: pair for name, pair in found.items() if pair[1] >= MIN_ASKED and 2 * pair[0] < pair[1]}


def warn_of_lost(folder: Path) -> None:
    """A warning on standard error of findings that a filtered folder has lost most of."""
    lost = find_lost(read_kept(folder) or {"kept_by_finding": {}})
    if lost:
        shown = ", ".join(f"{name} ({left} of {asked})" for name, (left, asked) in lost.items())
        print(
            f"warning: --keep passed less than half of the items that ask for {shown}: the generator draws "
            "them badly, and few of them are left, or are as they should be",
            file=sys.stderr,
        )


def find_kept(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same, of results: of the first section that was scored on a filtered folder."""
    every = (used.get("kept") for used in (results.get("inputs") or {}).values())
    return next((kept for kept in every if kept), None)


def describe_kept(results: Mapping[str, Any]) -> str:
    """A sentence for results of a filtered folder, "" for others."""
    kept = find_kept(results)
    if kept is None:
        return ""
    lost = f"; {kept['num_items_lost']} items never passed and are missing" if kept["num_items_lost"] else ""
    if failing := kept.get("num_kept_failing"):
        lost += f"; of {failing} that never passed the best draw is there (column failed_tests)"
    return (
        f"Filtered by {', '.join(kept['tests'])}: {kept['num_kept']} of {kept['num_draws']} draws kept "
        f"({kept['share_kept']:.0%}){lost}. Unfiltered pairs of the same generator score otherwise."
    )
