"""Numbered items done in blocks, by one process or several, killed at any time, in any order.

    FOLDER/identity.json     all that decides the results
    FOLDER/00000012.json     what became of block 12: there once all that it speaks of is on the disk

A block is written whole or not at all, and one that is damaged counts as not done.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.config import list_changed
from runtime.files import read_json, write_atomic
from runtime.sealed import seal, unseal

IDENTITY = "identity.json"


@dataclass(frozen=True)
class BlockLedger:
    """The finished blocks of a job.

    Attributes:
        folder: of the ledger alone; it is deleted with `delete`.
        shard: (i, n): this process does the blocks i, i + n, ...
    """

    folder: Path
    shard: tuple[int, int] = (0, 1)

    def read_identity(self) -> dict[str, Any] | None:
        """What the blocks were made with; None before the first run. ValueError where it is damaged."""
        path = self.folder / IDENTITY
        return read_json(path, f"delete {self.folder} to begin anew") if path.is_file() else None

    def find_change(self, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
        """What differs from the identity of the blocks that are there, for a message, else "".

        Args:
            defaults: of the settings in it (`list_defaults`), for blocks from before one of them.
        """
        before, now = self.read_identity(), json.loads(json.dumps(identity))
        if before is None:
            return ""
        before = {**(defaults or {}), **before}
        changed = list_changed(before, now, defaults)
        return f"{changed[0]} = {before.get(changed[0])!r}, now {now.get(changed[0])!r}" if changed else ""

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Note what decides the results, where that is not noted yet."""
        if not (self.folder / IDENTITY).is_file():
            write_atomic(self.folder / IDENTITY, json.dumps(identity, indent=2) + "\n")

    def read(self, block: int) -> dict[str, Any] | None:
        """The record of a block; None where it is not done."""
        path = self._path(block)
        try:
            return unseal(read_json(path)) if path.is_file() else None
        except ValueError:
            return None

    def write(self, block: int, record: Mapping[str, Any]) -> None:
        """Note that a block is done. Raises OSError, which names the path, where that cannot be written."""
        write_atomic(self._path(block), json.dumps(seal(record)) + "\n")

    def mine(self, num_blocks: int) -> range:
        """The blocks of this shard."""
        return range(self.shard[0], num_blocks, self.shard[1])

    def missing(self, blocks: range) -> list[int]:
        """Those of the blocks that are not done, in order."""
        return [block for block in blocks if self.read(block) is None]

    def num_done(self) -> int:
        """Blocks that are noted, damaged ones too; cheap enough to be asked again and again."""
        return sum(path.stem.isdecimal() for path in self.folder.glob("*.json"))

    def forget(self) -> None:
        """Let all blocks be done anew."""
        for path in self.folder.glob("*.json"):
            path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the ledger, once the results are safe elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, block: int) -> Path:
        return self.folder / f"{block:08d}.json"
