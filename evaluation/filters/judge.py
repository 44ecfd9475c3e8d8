"""PairFilter: which tests a drawn pair fails."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_module.findings import FINDINGS, POSITIVE, UNCERTAIN
from data_module.images import to_images
from data_module.labeler import label_reports
from data_module.labeler.consistency import CONTRADICTIONS, find_contradictions
from data_module.pairs import PairsFolder
from evaluation.filters.config import KeepConfig
from evaluation.filters.training_films import TrainingFilms
from evaluation.metric import needed
from evaluation.networks.classifier import FilmClassifier
from runtime.config import flatten, list_passing, to_dict
from runtime.devices import pick_device


class PairFilter:
    """The tests of `KeepConfig.keep`, on single pairs.

    Args:
        real: folder whose train rows the films were learned from, for in-distribution and not-a-copy.
        cache_dir: where features of its films are kept.

    Raises:
        ValueError: no classifier, or no training films, where a test needs them.
    """

    def __init__(
        self, config: KeepConfig, real: PairsFolder | None = None, cache_dir: Path | None = None
    ) -> None:
        self.config = config
        self.classifier: FilmClassifier | None = None
        self.training: TrainingFilms | None = None
        if config.reads_films:
            self.classifier = FilmClassifier.open(config.classifier, pick_device())
        if {"in-distribution", "not-a-copy"} & set(config.keep):
            if real is None or self.classifier is None:
                raise ValueError("--keep in-distribution and not-a-copy need --data, the training films")
            self.training = TrainingFilms.read(real, self.classifier, cache_dir)

    @property
    def identity(self) -> str:
        """What decides beside the settings: the classifier's hash, or ""."""
        return self.classifier.identity if self.classifier else ""

    def judge(self, films: np.ndarray, reports: Sequence[str] | None, labels: np.ndarray) -> list[list[str]]:
        """For each of B pairs the tests that it fails, with what is wrong: "film-agrees (Fracture)".

        Args:
            films: (B, S, S) uint8.
            labels: (B, 14) that were asked for; not mentioned counts as absent, uncertain is not tested, and
                neither are pairs for which nothing is known.

        Raises:
            ValueError: a test of reports, and no reports.
        """
        if reports is None and self.config.reads_reports:
            raise ValueError("--keep report-agrees and consistent need reports: leave out --films-only")
        failed: list[list[str]] = [[] for _ in films]
        scores = self._score(films)
        reports = reports or ()
        for name in self.config.keep:
            if name == "film-agrees":
                seen = needed(self.classifier).decide(needed(scores)[0])
                wrong = _name_errors(labels, seen, self.config.max_film_errors)
            elif name == "report-agrees":
                told = np.nan_to_num(label_reports(list(reports)))  # what it does not mention is absent
                wrong = _name_errors(labels, told, self.config.max_report_errors)
            elif name == "consistent":
                kinds = tuple(CONTRADICTIONS)
                wrong = [
                    [kinds[kind] for kind in np.flatnonzero(row)] for row in find_contradictions(reports)
                ]
            elif name == "in-distribution":
                far = needed(self.training).check.distances(needed(scores)[1]) > self.config.max_film_distance
                wrong = [["unlike the training films"] if one else [] for one in far]
            else:
                near = (
                    needed(self.training).closeness(films, needed(scores)[1]) < self.config.min_copy_distance
                )
                wrong = [["near a training film"] if one else [] for one in near]
            for tests, details in zip(failed, wrong, strict=True):
                if details:
                    tests.append(f"{name} ({', '.join(details)})")
        return failed

    def _score(self, films: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Probabilities (B, 14) and features (B, D), where a test needs them."""
        if self.classifier is None:
            return None
        probabilities, features = self.classifier.score(to_images(films))
        return probabilities.cpu().numpy(), features.cpu().numpy()


def open_filter(
    keep: KeepConfig, data: Path | None, films_only: bool
) -> tuple[PairFilter | None, dict[str, str]]:
    """The filter that --keep asks for, if any, and the settings of it that decide what is kept.

    Args:
        data: pairs folder with the training films.

    Raises:
        ValueError: a test of reports where none are written, or one that lacks its classifier or films.
    """
    if not keep.keep:
        return None, {}
    if films_only and keep.reads_reports:
        raise ValueError("--keep report-agrees and consistent need reports: leave out --films-only")
    real = PairsFolder.open(data) if data and data.is_dir() else None
    tests = PairFilter(keep, real, Path(keep.classifier).parent / "cache")
    settings = {f"keep.{name}": value for name, value in flatten(to_dict(keep), list_passing(keep)).items()}
    return tests, settings | {"keep.classifier": tests.identity}


def _name_errors(asked: np.ndarray, found: np.ndarray, limit: int) -> list[list[str]]:
    """For each row the findings that differ, where more than `limit` do; NaN is not known, and no error."""
    tested = (asked != UNCERTAIN) & ~np.isnan(asked).all(axis=1, keepdims=True) & ~np.isnan(found)
    wrong = tested & ((asked == POSITIVE) != (found == POSITIVE))
    wrong[wrong.sum(axis=1) <= limit] = False
    return [[FINDINGS[column] for column in np.flatnonzero(row)] for row in wrong]
