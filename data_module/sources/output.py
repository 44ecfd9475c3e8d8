"""The folder a source writes: its common settings, begun once, resumed, never overwritten by chance."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from data_module.film_files import find_whole
from data_module.pairs import METADATA, PairsFolder
from runtime.config import list_changed, list_passing
from runtime.files import file_hash, read_json, remove_leftovers, write_atomic
from runtime.locks import is_unused
from runtime.provenance import provenance_record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PARTS = ".parts"  # outcomes of the finished blocks of films
SCRATCH = f"{PARTS}/films"  # films that lay in no files, until they are converted
LIST_NAME = "mimic-cxr-list-filtered.csv"  # of the mimic-cxr source
SETTINGS = "prepare.json"  # what the folder is made with, written first
_RENAMED = {"colour": "color", "labelled": "labeled"}  # settings in folders of older date


def begin_folder(
    out: str | Path,
    settings: Mapping[str, Any],
    overwrite: bool,
    defaults: Mapping[str, Any] | None = None,
) -> bool:
    """Make or re-enter an output folder; True where it is finished and nothing is left to do.

    Args:
        settings: all that decides the content, as plain values.
        overwrite: empty a folder that prepare_data.py made with other settings.
        defaults: of the settings (`list_defaults`), for folders from before one of them.

    Raises:
        ValueError: the folder holds something else, or was made with other settings.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder")
    settings = json.loads(json.dumps(settings, default=str))
    record = out / SETTINGS
    if record.is_file():
        before = read_settings(record)
        changed = list_changed(before, settings, defaults)
        if not changed:
            return _is_finished(out)
        if not overwrite:
            raise ValueError(
                f"--out {out} was made with other settings ({', '.join(changed)}); "
                "give another folder, or --overwrite to replace it"
            )
        _empty(out)
    elif out.is_dir() and not is_unused(out):
        # Whatever it holds, it is not ours to delete, with or without --overwrite.
        raise ValueError(f"--out {out} is not empty and was not made by prepare_data.py; give another folder")
    write_atomic(record, json.dumps(settings, indent=2) + "\n")
    return False


def read_settings(record: Path) -> dict[str, Any]:
    """The settings in a folder's prepare.json, under today's names. Raises ValueError where it is damaged."""
    settings = read_json(record, "give another --out")
    return {_RENAMED.get(name, name): value for name, value in settings.items()}


def _is_finished(out: Path) -> bool:
    """Whether the whole table and every film it names are there; else the folder is to be made, or mended.

    Raises:
        ValueError: the table has all its rows, but not as they were written: it may have been edited, and is
            not overwritten.
    """
    path = next((out / name for name in METADATA if (out / name).is_file()), None)
    if path is None:
        return False
    names = _read_film_names(path)
    if names is not None and _has_skipped(out) and all(find_whole([out / name for name in names])):
        return True
    print(f"{out}: its table or films are not whole: made again", file=sys.stderr)
    return False


def _has_skipped(out: Path) -> bool:
    """Whether skipped.csv is as it was written; of folders of before its hash was noted nobody knows."""
    try:
        written = read_json(out / "provenance.json").get("skipped_hash", "")
        path = out / "skipped.csv"
        return path.is_file() and file_hash(path).startswith(str(written))
    except (OSError, ValueError):
        return False


def _read_film_names(path: Path) -> list[str] | None:
    """The films that a whole table names; None for one that is half written, or damaged.

    Raises:
        ValueError: as `_is_finished`.
    """
    try:
        record = read_json(path.parent / "provenance.json")
        written = str(record.get("table_hash", ""))
        if written and file_hash(path).startswith(written):  # as it was written: one column is enough
            return _read_column(path, "file_name")
        table = PairsFolder.open(path.parent).table
    except (OSError, ValueError):
        return None
    if len(table) != record.get("num_rows"):
        return None
    if written:
        raise ValueError(f"{path} has changed since it was made: delete it, and the same command mends it")
    return table["file_name"].dropna().tolist()


def _read_column(path: Path, name: str) -> list[str]:
    """The cells of one column that are not empty, of a table that `write_pairs` wrote."""
    if path.suffix == ".parquet":
        column = pd.read_parquet(path, columns=[name])[name]
    else:
        column = pd.read_csv(path, usecols=[name], dtype=str, keep_default_na=False, na_values=[""])[name]
    return column.dropna().tolist()


def forget_outcomes(out: Path) -> None:
    """Let a folder count as unfinished, so that what failed is tried again. Its films are kept."""
    for name in METADATA:
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _empty(out: Path) -> None:
    # The table first: a folder without it is an unfinished one, should this be interrupted.
    for name in (*METADATA, "provenance.json", "README.md", "skipped.csv", LIST_NAME):
        (out / name).unlink(missing_ok=True)
    for name in ("images", PARTS):
        shutil.rmtree(out / name, ignore_errors=True)


def remove_rests(out: Path) -> None:
    """Delete what killed runs left half written, once all films are there."""
    remove_leftovers(out / "images", "**/.*.tmp")
    remove_leftovers(out, f".{SETTINGS}.*.tmp")


def content_settings(config: "DataclassInstance") -> dict[str, Any]:
    """The settings that decide a folder's content, and of a path the name only, so that a folder is the same
    on every machine."""
    passing = set(list_passing(config))
    return {
        name: value.name if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(config).items()
        if name not in passing
    }


def source_record(kind: str, config: "DataclassInstance") -> dict[str, Any]:
    """Provenance of a source: the command as far as it decides the content, config, commit, versions."""
    settings = content_settings(config)
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    flags = []
    for name, value in settings.items():
        if value != defaults[name] and value not in (None, ""):
            values = value if isinstance(value, list | tuple) else [] if value is True else [value]
            flags += [f"--{name.replace('_', '-')}", *(repr(v) if v == "" else str(v) for v in values)]
    command = " ".join(["prepare_data.py", kind, *flags])
    return {**provenance_record(settings), "command": command}


def refuse_skipped(skipped: Sequence[Mapping[str, str]], strict: bool) -> None:
    """With `--strict` any row that cannot be used is an error, which names the first three."""
    if strict and skipped:
        first = "; ".join(f"{row['item']}: {row['reason']}" for row in skipped[:3])
        raise ValueError(f"--strict: {len(skipped)} row(s) cannot be used: {first}")


def main_reasons(skipped: Sequence[Mapping[str, str]]) -> str:
    """Why rows could not be used: the three most frequent reasons with their numbers, for an error."""
    counts = count_values(row["reason"] for row in skipped)
    return "; ".join(f"{count:,} x {reason}" for reason, count in list(counts.items())[:3])


def hash_file(path: str | Path, flag: str) -> str:
    """Short hash of a file's content. Raises ValueError that names the flag where it cannot be read."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError("not a plain file")
        return file_hash(path)[:16]
    except OSError as error:
        raise ValueError(f"{flag} {path}: cannot be read ({error.strerror or error})") from None


def count_values(values: Iterable[str]) -> dict[str, int]:
    """Value -> number of times, the most frequent first."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
