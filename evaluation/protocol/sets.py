"""What a protocol compares: films with the prompts they were drawn from, as CheXGenBench lists them."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data_module.findings import FINDINGS, POSITIVE
from data_module.pairs import PairsFolder
from data_module.tables import find_column, read_table
from evaluation.inputs.rows import prompts

_PROMPTS = ("annotated_prompt", "prompt")
_FILMS = ("path", "img_savename", "synthetic_filename")


@dataclass(frozen=True)
class PromptedFilms:
    """Films, their prompts, and which findings each is positive for, (N, 14) bool; False where not said."""

    paths: Sequence[Path]
    prompts: Sequence[str]
    positive: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int]) -> "PromptedFilms":
        """Some of the rows."""
        return PromptedFilms(
            [self.paths[row] for row in rows], [self.prompts[row] for row in rows], self.positive[list(rows)]
        )

    def distinct(self) -> "PromptedFilms":
        """The first film of each prompt, as the protocol takes real films."""
        first = {prompt: row for row, prompt in reversed(list(enumerate(self.prompts)))}
        return self.take(sorted(first.values()))


def read_set(path: Path, images: Path | None, flag: str, split: str = "") -> PromptedFilms:
    """One of CheXGenBench's CSV files with the folder of its films, or a pairs folder.

    Args:
        flag: what messages call the path.
        split: of a pairs folder; "": all rows.

    Raises:
        ValueError: neither, columns missing, or films that are not there.
    """
    if path.is_dir():
        pairs = PairsFolder.open(path).split(split) if split else PairsFolder.open(path)
        found = PromptedFilms(pairs.image_paths, prompts(pairs), pairs.labels == POSITIVE)
    else:
        found = _read_csv(path, images or path.parent, flag)
    missing = sum(not film.is_file() for film in found.paths)
    if missing:
        raise ValueError(f"{flag} {path}: {missing} of its {len(found)} films are not there")
    return found


def _read_csv(path: Path, images: Path, flag: str) -> PromptedFilms:
    where = f"{flag} {path}"
    table = read_table(path, where)
    prompt, film = (find_column(table, names, where) for names in (_PROMPTS, _FILMS))
    if prompt is None or film is None or table.empty:
        raise ValueError(f"{where}: needs a column {' or '.join(_PROMPTS)} and one of {', '.join(_FILMS)}")
    positive = np.zeros((len(table), len(FINDINGS)), bool)
    if "chexpert_labels" in table:
        positive = np.array([_read_labels(cell, where) for cell in table["chexpert_labels"]])
    return PromptedFilms([images / name for name in table[film]], table[prompt].tolist(), positive)


def _read_labels(cell: str, where: str) -> list[bool]:
    """A cell such as "{'Edema': 1.0, 'Fracture': nan}"."""
    try:
        labels: Any = ast.literal_eval(cell.replace("nan", "None")) if cell else {}
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        labels = None
    if not isinstance(labels, Mapping):
        raise ValueError(f"{where}: a cell of chexpert_labels is no dictionary of findings")
    return [labels.get(name) == POSITIVE for name in FINDINGS]


def read_bytes(path: Path, size: int) -> torch.Tensor:
    """(3, size, size) uint8: color, squashed bilinearly; to 0..1 and back, which may cost a gray level."""
    with Image.open(path) as film:
        resized = film.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    scaled = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255.0
    return (scaled * 255.0).to(torch.uint8)


def read_color(path: Path, size: int) -> np.ndarray:
    """(size, size, 3) uint8, squashed by bicubic resizing, as the protocol's privacy figures read films."""
    with Image.open(path) as film:
        return np.array(film.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
