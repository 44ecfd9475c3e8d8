"""What to draw: item i's prompt, findings and reference film, as a pure function of (seed, i)."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_module.config import PlanConfig
from data_module.decoding import read_one_film
from data_module.findings import FINDINGS, Labeler, prompt_sentence
from data_module.pairs import METADATA, REQUIRED, PairsFolder
from data_module.quoting import quote_columns
from data_module.references import ReferenceIndex
from data_module.tables import find_column, read_table, read_text
from data_module.text_columns import text_column

ABOUT = ("view", "sex", "age")
MAX_PROMPT = 10_000  # characters: a long report has 3,000


@dataclass(frozen=True)
class PlannedPair:
    """One film to draw. `labels` (14,) are the findings asked for; `reference` is None for text alone."""

    prompt: str
    labels: np.ndarray
    reference: Path | None
    reference_name: str
    # View, sex and age of the row whose prompt this is, as far as it says: the film shows them only where the
    # prompt does, but figures can be told apart by what was asked for.
    about: Mapping[str, Any] = field(default_factory=dict)


class ReferenceFilms:
    """The train films of a pairs folder, to draw references from."""

    def __init__(self, pairs: PairsFolder) -> None:
        self.films = pairs.split("train")
        self.paths = self.films.image_paths  # once: it walks the whole table
        self.index = ReferenceIndex(self.films.labels, self.films.table["patient_id"].tolist())

    def draw(self, labels: np.ndarray, patient: str | None, seed: int, item: int) -> tuple[Path, str]:
        """A film of like findings (14,) and of another patient, and its name; a function of (seed, item)."""
        uniform = np.random.default_rng((seed, 1, item)).random(1)
        place = int(self.index.draw_for(labels[None], [patient], uniform)[0])
        return self.paths[place], str(self.films.table["file_name"][place])


class SamplingPlan:
    """Items 0, 1, 2, ... of a sampling run.

    Prompts come from a list, or else from the rows of one split of a pairs folder, as they stand or in an
    order that depends on the seed only; `num_prompts` of them, or all. The reference film has the same
    findings and is of another patient; it is drawn from the train split, or is one given film for all.

    Attributes:
        prompts: the prompts; item i takes one of them.
        names: where each of them came from, for messages.
        data_hash: manifest hash of the pairs folder, "" without one.
    """

    def __init__(self, config: PlanConfig, seed: int, labeler: Labeler | None = None) -> None:
        """
        Args:
            labeler: texts -> (N, 14) certainties, for prompts that are not rows of a pairs folder.

        Raises:
            ValueError: nothing to draw, or a file of the config that is missing or unfit.
        """
        self.seed, self.reference = seed, config.reference
        self.prompts, self.names = read_prompts(config.prompt, config.prompts)
        if self.reference:
            read_one_film(self.reference, "--reference")
        self.about: list[dict[str, Any]] = []
        pairs = None
        if config.data and (not self.prompts or config.data.is_dir()):
            pairs = PairsFolder.open(config.data)
        self.data_hash = pairs.manifest_hash() if pairs else ""
        if self.prompts:
            self.labels = np.full((len(self.prompts), len(FINDINGS)), np.nan, dtype=np.float32)
            given = read_prompt_rows(config.prompts, len(self.prompts))
            if given is not None:
                self.labels, self.about = given.labels, describe_patients(given.table)
            elif labeler:
                self.labels = labeler(self.prompts)
            self.patients: list[str | None] = [None] * len(self.prompts)
            self.order = np.arange(len(self.prompts))
        elif pairs is None:
            raise ValueError("nothing to draw: pass --data FOLDER, --prompt TEXT or --prompts FILE")
        else:
            rows = pairs.split(config.split)
            self.labels = rows.labels
            written = text_column(rows, config.prompt_column, "--prompt-column")
            self.prompts = [
                prompt or prompt_sentence(dict(zip(FINDINGS, labels, strict=True)))
                for prompt, labels in zip(written, self.labels, strict=True)
            ]
            count = len(self.prompts)
            self.names = [f"{config.data}, split {config.split}, prompt {i + 1}" for i in range(count)]
            check_prompts(self.prompts, self.names)
            self.patients = rows.table["patient_id"].tolist()
            self.about = describe_patients(rows.table)
            self.order = np.arange(len(rows))
            if config.prompt_order == "random":
                self.order = np.random.default_rng((seed, 0)).permutation(len(rows))
        if not 0 <= config.num_prompts <= len(self.order):
            raise ValueError(f"--num-prompts {config.num_prompts}: there are {len(self.order)}")
        self.order = self.order[: config.num_prompts or None]
        self.references: ReferenceFilms | None = None
        if pairs is not None and self.reference is None and not config.no_reference:
            self.references = ReferenceFilms(pairs)

    def __len__(self) -> int:
        """Number of prompts that are drawn; item i uses prompt i modulo this, in the order of the seed."""
        return len(self.order)

    def __getitem__(self, item: int) -> PlannedPair:
        row = int(self.order[item % len(self.order)])
        path, name = self.reference, str(self.reference or "")
        if self.references is not None:
            path, name = self.references.draw(self.labels[row], self.patients[row], self.seed, item)
        about = self.about[row] if self.about else {}
        return PlannedPair(self.prompts[row], self.labels[row], path, name, about)


def describe_patients(table: pd.DataFrame) -> list[dict[str, Any]]:
    """View, sex and age of each row of a pairs folder, those that it has; whole years as integers."""
    rows = table[list(ABOUT)].astype(object).to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items() if not pd.isna(value)} for row in rows]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_prompts(prompt: str, path: Path | None) -> tuple[list[str], list[str]]:
    """The prompts of --prompt or of the file of --prompts, and for each where it came from.

    Args:
        path: text with one prompt a line, or a .csv or .tsv table with a column `prompt`.

    Raises:
        ValueError: both are given, or the file is missing, empty or without that column.
    """
    if prompt and path:
        raise ValueError("pass --prompt or --prompts, not both")
    if prompt:
        return check_prompts([prompt], ["--prompt"]), ["--prompt"]
    if path is None:
        return [], []
    where = f"--prompts {path}"
    if path.suffix.lower() in (".csv", ".tsv", ".tab"):
        table = read_table(path, where)
        column = find_column(table, ["prompt"], where)
        if column is None:
            raise ValueError(f"{where}: no column `prompt`; it has {quote_columns(table)}")
        lines = table[column].tolist()
    else:
        lines = read_text(path, where).splitlines()
    found = [(line.strip(), f"{where}, prompt {i + 1}") for i, line in enumerate(lines)]
    given = [(line, name) for line, name in found if line]
    if not given:
        raise ValueError(f"{where}: holds no prompt")
    if len(given) < len(found):
        print(f"note: {where}: {len(found) - len(given)} row(s) hold no prompt", file=sys.stderr)
    names = [name for _, name in given]
    return check_prompts([line for line, _ in given], names), names


def read_prompt_rows(path: Path | None, num_prompts: int) -> PairsFolder | None:
    """The row of each prompt where --prompts is the table of a pairs folder; else None.

    Such a folder is drawn anew, larger say, with the findings that it was asked for and not those that a
    labeler reads off its prompts.
    """
    if path is None or path.name != METADATA[0]:
        return None
    columns = read_table(path, f"--prompts {path}").columns
    if not {*REQUIRED, *FINDINGS} <= set(columns):
        return None
    folder = PairsFolder.open(path.parent)
    return folder if len(folder) == num_prompts else None


def check_prompts(prompts: list[str], names: list[str]) -> list[str]:
    """The prompts; ValueError for one that no text encoder can take, before it takes hours to say so."""
    for prompt, name in zip(prompts, names, strict=True):
        if len(prompt) > MAX_PROMPT:
            raise ValueError(f"{name}: has {len(prompt):,} characters; a prompt has {MAX_PROMPT:,} at most")
    return prompts
