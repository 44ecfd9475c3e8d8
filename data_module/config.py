"""Settings of splits and of synthetic pairs: what the scripts' flags are made of. Imports nothing heavy."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runtime.config import setting
from runtime.shards import parse_shard

SHARES = (0.8, 0.1, 0.1)  # of patients in train, validation and test, where nobody says otherwise


def check_shares(shares: Sequence[float]) -> None:
    """Raise ValueError for anything but the shares of train, validation and test."""
    if len(shares) != 3 or min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        given = " ".join(map(str, shares))
        raise ValueError(f"--split-shares {given}: give three shares (train, validation, test) that sum to 1")


@dataclass(frozen=True)
class FoldConfig:
    """Cross-validation by patient: train and validation rows in turns, the test rows kept."""

    folds: int = 0
    """Number of folds; 0 keeps the split of --data."""
    fold: int = 0
    """The fold that is validated on, 0 to folds - 1; the others are trained on."""

    def __post_init__(self) -> None:
        if self.folds and not (self.folds >= 2 and 0 <= self.fold < self.folds):
            raise ValueError(
                f"--folds {self.folds} --fold {self.fold}: need at least 2 and 0 <= fold < folds"
            )


@dataclass(frozen=True)
class PlanConfig:
    """What is to be drawn."""

    data: Path | None = setting(Path("runs/demo/data"), identity=False)
    """Pairs folder: its --split rows give the prompts, its train rows the reference films. With --prompt or
    --prompts it need not be there; the films are then drawn from text alone."""
    split: Literal["train", "validation", "test"] = "test"
    """Rows of --data that give the prompts."""
    prompt_column: str = "prompt"
    """Their column that is the prompt: prompt, impression_section ..., or free_prompt, which is put together
    in many wordings from findings, sides and grades, sex, age and view."""
    prompt_order: Literal["random", "table"] = "random"
    """Order of these rows: drawn by the seed; or as they stand, so that item i is row i (CXR-IRGen draws the
    first 1,000 rows of its test folder)."""
    num_prompts: int = 0
    """Draws the first so many of the prompts alone, in turn; 0: all. --num-prompts 32 --num-pairs 512 draws
    each of them 16 times, as `evaluation memorization` asks for."""
    prompt: str = ""
    """One prompt for all items, instead of those of --data."""
    prompts: Path | None = setting(None, identity=False)
    """File of prompts: a text file with one a line, or a .csv or .tsv table with a column `prompt`."""
    reference: Path | None = setting(None, identity=False)
    """One reference film for all items, instead of one of the same findings for each."""
    no_reference: bool = False
    """Text alone: no reference film."""


@dataclass(frozen=True)
class SyntheticConfig:
    """Where the pairs go, and how many."""

    out: Path | None = setting(None, identity=False)
    """Pairs folder to write. None: runs/demo/pairs, and with --prompt a folder in runs/films that the prompt
    and a hash of all settings name: the same command again finds its film, another one overwrites none."""
    num_pairs: int = setting(0, identity=False)
    """Number of pairs; 0 makes one of each prompt."""
    start: int = setting(0, identity=False)
    """First item; items start ... start + num_pairs - 1 are made."""
    shard: str = setting("0/1", identity=False)
    """i/n makes every n-th batch, from the i-th (0 <= i < n); all shards share --out."""
    batch_size: int = 0
    """Items at once; 0 takes 32, or --num-pairs where that is less. Batches are always full; another size
    changes at most rounding."""
    image_format: Literal["png", "jpg"] = "png"
    """Format of the films, 8-bit gray."""
    overwrite: bool = setting(False, identity=False)
    """Delete a folder that this script made in --out and start anew."""

    def __post_init__(self) -> None:
        parse_shard(self.shard)
        if self.batch_size < 0 or self.num_pairs < 0 or self.start < 0:
            raise ValueError("--batch-size, --num-pairs and --start must be 0 or more")

    def items(self, num_prompts: int) -> range:
        """The items to make, of that many prompts."""
        return range(self.start, self.start + (self.num_pairs or num_prompts))

    def folder(self, prompt: str, settings: Mapping[str, Any]) -> Path:
        """`out`, or the folder of its own that a free prompt gets."""
        if self.out or not prompt:
            return self.out or Path("runs/demo/pairs")
        return Path("runs/films") / name_folder(prompt, settings)


def name_folder(prompt: str, settings: Mapping[str, Any]) -> str:
    """Of a free prompt: its words and a hash of all settings."""
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48]
    return f"{words}-{key}"
