"""Shards that machines made in folders of their own -> one folder, which the same command then closes."""

import os
from pathlib import Path

from data_module.pairs import METADATA
from data_module.sources.config import MergeConfig
from data_module.sources.output import PARTS, SETTINGS, read_settings
from runtime.files import write_atomic
from runtime.ledger import BlockLedger
from runtime.locks import is_unused


def merge_shards(config: MergeConfig) -> int:
    """Put the films and outcomes of all shards into one folder; returns the number of films.

    Raises:
        ValueError: a folder that is no shard, or shards of different settings.
    """
    records = [part / SETTINGS for part in config.parts]
    for part, record in zip(config.parts, records, strict=True):
        if not record.is_file():
            raise ValueError(f"--parts {part}: not a folder that prepare_data.py made")
        same_films = _read_plan(part) == _read_plan(config.parts[0])
        if read_settings(record) != read_settings(records[0]) or not same_films:
            raise ValueError(
                f"--parts {part} and {config.parts[0]} were made with different settings or input"
            )
    if not records:
        raise ValueError("--parts: name the folders to join")
    there = config.out / SETTINGS
    if there.is_file() and read_settings(there) != read_settings(records[0]):
        raise ValueError(f"--out {config.out} was made with other settings; give another folder")
    if not there.is_file() and config.out.is_dir() and not is_unused(config.out):
        raise ValueError(f"--out {config.out} is not empty and was not made by prepare_data.py")
    if any((config.out / name).is_file() for name in METADATA):
        raise ValueError(f"--out {config.out} is finished already")
    write_atomic(there, records[0].read_text())
    num_films = 0
    for part in config.parts:
        for path in sorted(part.rglob("*")):
            name = path.relative_to(part)
            # Plain files of the two folders only: a shard may come from elsewhere.
            if path.is_symlink() or not path.is_file() or name.parts[0] not in ("images", PARTS):
                continue
            if path.suffix != ".tmp":
                num_films += name.parts[0] == "images"
                _link(path, config.out / name)
    return num_films


def _read_plan(folder: Path) -> dict[str, str] | None:
    return BlockLedger(folder / PARTS).read_identity()


def _link(path: Path, target: Path) -> None:
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another disk, or one that knows no links
        write_atomic(target, path.read_bytes())
