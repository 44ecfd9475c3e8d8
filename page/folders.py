"""The open pairs folders: rows by finding, side, split and agreement; neighbors in the training set."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler import label_reports
from data_module.labeler.attributes import read_attributes
from data_module.pairs import SPLITS, PairsFolder
from evaluation.networks.classifier import FilmClassifier
from evaluation.privacy.distances import load_standardized, nearest_training_films
from page.pieces import find_agreement

ANY = "any"
SIDES = ("left", "right", "bilateral")
AGREEMENTS = ("all agree", "some differ")
MAX_ROWS = 5000  # whose reports or films are looked at for one filter
MAX_TRAINING = 20_000  # films among which neighbors are searched


class Filter(NamedTuple):
    """Which rows are wanted; ANY leaves a question open."""

    finding: str = ANY
    side: str = ANY
    split: str = ANY
    agreement: str = ANY


@dataclass
class OpenFolder:
    """One folder: its rows, and what has been found out about them so far."""

    pairs: PairsFolder
    sides: dict[tuple[int, str], bool] = field(default_factory=dict)
    agreements: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def row(self, number: Any) -> int:
        """A row's number from a request; ValueError for one that there is not."""
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self):
            raise ValueError("this folder has no such row")
        return number

    def film(self, row: int) -> Path | None:
        """Path of a row's film. None without one, or where a link leads out of the folder."""
        name, root = self.pairs.table["file_name"].iloc[row], self.pairs.root.resolve()
        if not isinstance(name, str) or not name:
            return None
        path = (root / name).resolve()
        return path if path.is_relative_to(root) else None

    def text(self, row: int, column: str) -> str:
        """A cell of text, "" where it is empty."""
        value = self.pairs.table[column].iloc[row]
        return value if isinstance(value, str) else ""


class Folders:
    """All open folders by the name that the page shows, and the training films of --data.

    Args:
        lock: of the models.
    """

    def __init__(
        self,
        data: PairsFolder,
        others: Sequence[PairsFolder],
        classifier: FilmClassifier,
        lock: threading.RLock,
    ) -> None:
        self.data, self.classifier, self.lock = data, classifier, lock
        self.open = {str(pairs.root): OpenFolder(pairs) for pairs in (data, *others)}
        self._training: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def add(self, path: Path) -> str:
        """Open one more folder; its name on the page.

        Raises:
            ValueError: no pairs folder.
        """
        self.open[str(path)] = OpenFolder(PairsFolder.open(path))
        return str(path)

    def get(self, name: str) -> OpenFolder:
        """ValueError for a folder that is not open."""
        if name not in self.open:
            raise ValueError("this folder is not open: name it with --pairs")
        return self.open[name]

    def find(self, name: str, wanted: Filter) -> tuple[list[int], str]:
        """Rows that fit, in order, and a remark or ""."""
        folder = self.get(name)
        table, rows = folder.pairs.table, np.arange(len(folder))
        if wanted.split in SPLITS:
            rows = rows[(table["split"].to_numpy() == wanted.split)[rows]]
        if wanted.finding in FINDINGS:
            rows = rows[(table[wanted.finding].to_numpy() == POSITIVE)[rows]]
        remark = ""
        if wanted.side in SIDES or wanted.agreement in AGREEMENTS:
            if len(rows) > MAX_ROWS:
                remark = f"only the first {MAX_ROWS:,} of {len(rows):,} were looked at: filter more"
                rows = rows[:MAX_ROWS]
            if wanted.side in SIDES:
                rows = np.array([row for row in rows if _has_side(folder, int(row), wanted)], int)
            if wanted.agreement in AGREEMENTS:
                self._compare(folder, rows)
                rows = np.array([row for row in rows if folder.agreements[int(row)] == wanted.agreement], int)
        return rows.tolist(), remark

    def _compare(self, folder: OpenFolder, rows: np.ndarray) -> None:
        """Whether classifier and report agree, of rows that have not been looked at."""
        left = [int(row) for row in rows if int(row) not in folder.agreements]
        for start in range(0, len(left), 256):
            block = left[start : start + 256]
            with self.lock:
                scores = self.classifier.score_folder([folder.film(row) for row in block])
            seen = self.classifier.decide(scores.probabilities)
            read = label_reports([folder.text(row, "report") for row in block])
            for row, decided, said in zip(block, seen, read, strict=True):
                found = {find_agreement(float(a), float(b)) for a, b in zip(decided, said, strict=True)}
                folder.agreements[row] = AGREEMENTS["differ" in found]

    def neighbors(self, folder: OpenFolder, row: int, count: int = 3) -> list[tuple[int, float]]:
        """Training rows of --data nearest to a row's film, itself left out, and their distances.

        By the classifier's features, the nearest registered one first: see `evaluation/privacy/distances.py`.
        """
        path = folder.film(row)
        with self.lock:
            if self._training is None:
                self._training = self._load_training()
            places, films, features = self._training
            own = folder.pairs is self.data and (places == row)
            scores = self.classifier.score_folder([path])
            film = load_standardized([path])
            if scores.failures or np.isnan(film).any():
                return []
            keep = ~own if isinstance(own, np.ndarray) else np.ones(len(places), bool)
            distances = np.linalg.norm(features[keep] - scores.features, axis=1)
            _, first = nearest_training_films(film, scores.features, films[keep], features[keep])
            order = [int(first[0]), *(int(p) for p in np.argsort(distances, kind="stable") if p != first[0])]
        return [(int(places[keep][place]), float(distances[place])) for place in order[:count]]

    def _load_training(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of --data in split train whose films can be read, their films and features."""
        folder = self.open[str(self.data.root)]
        rows = np.flatnonzero((self.data.table["split"] == "train").to_numpy())[:MAX_TRAINING]
        paths = [folder.film(int(row)) for row in rows]
        scores, films = self.classifier.score_folder(paths), load_standardized(paths)
        good = scores.readable & np.isfinite(films).all(axis=(1, 2))
        return rows[good], films[good], scores.features[good]


def _has_side(folder: OpenFolder, row: int, wanted: Filter) -> bool:
    """Whether the report gives that side to the finding, or to any where none is chosen."""
    key = (row, f"{wanted.finding} {wanted.side}")
    if key not in folder.sides:
        said = read_attributes(folder.text(row, "report"))
        names = [wanted.finding] if wanted.finding in FINDINGS else list(said)
        folder.sides[key] = any(said.get(name, {}).get("side") == wanted.side for name in names)
    return folder.sides[key]
