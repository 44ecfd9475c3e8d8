"""Checkpoints of a run: one file of tensors and JSON, written whole or not at all, the oldest dropped."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from runtime.files import file_hash, naming, publish_folder, write_atomic
from runtime.runs import RunFolder
from training.state_file import load_state, save_state

STATE, CHECKSUM = "state.safetensors", "sha256"


def save_checkpoint(run: RunFolder, step: int, state: Any, keep: int) -> None:
    """Write checkpoints/step_N; `keep` checkpoints are left on the disk.

    Args:
        state: nested dicts and lists of tensors and plain values.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    target = run.checkpoint_dir / f"step_{step:07d}"
    temporary = run.checkpoint_dir / "unfinished"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with naming(target):
            save_state(temporary / STATE, state)
            write_atomic(temporary / CHECKSUM, file_hash(temporary / STATE))
            publish_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _list_checkpoints(run)[:-keep]:
        shutil.rmtree(old)


def find_checkpoint(run: RunFolder) -> Path | None:
    """The newest checkpoint that is whole; None where there is none at all.

    Raises:
        ValueError: there are some, and all are damaged.
    """
    reason = ""
    for folder in reversed(_list_checkpoints(run)):
        reason = _find_damage(folder)
        if not reason:
            return folder
        print(f"{folder}: {reason}; an older checkpoint is tried", file=sys.stderr)
    if reason:
        raise ValueError(f"{run.checkpoint_dir}: no checkpoint is whole ({reason}): --overwrite trains anew")
    return None


def load_checkpoint(folder: Path) -> tuple[int, Any]:
    """Step and state of a checkpoint, its tensors on the CPU.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return _step(folder), load_state(folder / STATE)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = type(error).__name__
        raise ValueError(f"{folder / STATE} cannot be read ({reason}): delete {folder}") from None


def _find_damage(folder: Path) -> str:
    """What is wrong with a checkpoint, "" for a whole one."""
    if not ((folder / STATE).is_file() and (folder / CHECKSUM).is_file()):
        return f"it is damaged, or of an older version: no {STATE} with its {CHECKSUM}"
    try:
        whole = (folder / CHECKSUM).read_bytes().strip() == file_hash(folder / STATE).encode()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return "" if whole else f"{STATE} is damaged"


def _list_checkpoints(run: RunFolder) -> list[Path]:
    """Checkpoints, the oldest first."""
    found = [p for p in run.checkpoint_dir.glob("step_*") if re.fullmatch(r"step_\d{1,18}", p.name)]
    return sorted(found, key=_step)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))
