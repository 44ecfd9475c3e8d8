"""The folder a source writes: begun once, resumed with the same settings, never overwritten by chance."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_module.pairs import METADATA, PairsFolder, write_atomic

_SETTINGS = "prepare.json"  # what the folder is made with, written first


def begin_folder(out: str | Path, settings: Mapping[str, Any], overwrite: bool) -> PairsFolder | None:
    """Make or re-enter an output folder: the finished pairs folder where nothing is left to do, else None.

    Args:
        settings: all that decides the content, as plain values.
        overwrite: empty a folder that prepare_data.py made with other settings.

    Raises:
        ValueError: the folder holds something else, or was made with other settings.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder")
    settings = json.loads(json.dumps(settings, default=str))
    record = out / _SETTINGS
    if record.is_file():
        before = _read_settings(record)
        if before == settings:
            for rest in out.rglob(".*.tmp"):  # of a killed run
                rest.unlink()
            return _open_finished(out)
        if not overwrite:
            names = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
            raise ValueError(
                f"--out {out} was made with other settings ({', '.join(names)}); "
                "give another folder, or --overwrite to replace it"
            )
        _empty(out)
    elif out.is_dir() and any(out.iterdir()):
        # Whatever it holds, it is not ours to delete, with or without --overwrite.
        raise ValueError(f"--out {out} is not empty and was not made by prepare_data.py; give another folder")
    write_atomic(record, json.dumps(settings, indent=2) + "\n")
    return None


def _read_settings(record: Path) -> dict[str, Any]:
    try:
        settings = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{record} cannot be read ({error}); give another --out") from None
    return settings if isinstance(settings, dict) else {}


def _open_finished(out: Path) -> PairsFolder | None:
    """The folder, if its table and every film it names are there; else it is to be made (again)."""
    if not any((out / name).is_file() for name in METADATA):
        return None
    folder = PairsFolder.open(out)
    whole = not folder.has_films or all(path.is_file() for path in folder.image_paths)
    return folder if whole else None


def _empty(out: Path) -> None:
    # The table first: a folder without it is an unfinished one, should this be interrupted.
    for name in (*METADATA, "provenance.json", "README.md", "skipped.csv"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "images", ignore_errors=True)


def plain_config(config: Any) -> dict[str, Any]:
    """A source's dataclass as plain values."""
    fields = dataclasses.asdict(config).items()
    return {name: str(value) if isinstance(value, Path) else value for name, value in fields}


def refuse_skipped(skipped: Sequence[Mapping[str, str]], strict: bool) -> None:
    """With `--strict` any row that cannot be used is an error, which names the first three."""
    if strict and skipped:
        first = "; ".join(f"{row['item']}: {row['reason']}" for row in skipped[:3])
        raise ValueError(f"--strict: {len(skipped)} row(s) cannot be used: {first}")


def hash_file(path: str | Path, flag: str) -> str:
    """Short hash of a file's content. Raises ValueError that names the flag where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ValueError(f"{flag} {path}: cannot be read ({error.strerror})") from None


def count_values(values: Sequence[str]) -> dict[str, int]:
    """Value -> number of times, the most frequent first."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
