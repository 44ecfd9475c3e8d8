"""PairFilter: which tests a drawn pair fails."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_module.controls import UNSAID, read_controls
from data_module.findings import FINDINGS, POSITIVE, UNCERTAIN
from data_module.images import to_images
from data_module.labeler import label_reports
from data_module.labeler.consistency import CONTRADICTIONS, find_contradictions
from data_module.pairs import PairsFolder
from evaluation.filters.config import KeepConfig, Test
from evaluation.filters.training_films import TrainingFilms
from evaluation.metric import needed
from evaluation.networks.classifier import FilmClassifier
from evaluation.statistics.controls import Compared, compare_shown, compare_told
from runtime.config import flatten, list_passing, to_dict
from runtime.devices import pick_device

NEED_REPORTS = (
    "--keep report-agrees, report-controls-agree and consistent need reports: leave out --films-only"
)


class PairFilter:
    """The tests of `KeepConfig.keep`, on single pairs.

    Args:
        real: folder whose train rows the films were learned from, for in-distribution and not-a-copy.
        cache_dir: where features of its films are kept.

    Raises:
        ValueError: no classifier, no network of controls, or no training films, where a test needs them.
    """

    def __init__(
        self, config: KeepConfig, real: PairsFolder | None = None, cache_dir: Path | None = None
    ) -> None:
        self.config = config
        self.classifier: FilmClassifier | None = None
        self.controls: FilmClassifier | None = None
        self.training: TrainingFilms | None = None
        if config.reads_films:
            self.classifier = FilmClassifier.open(config.classifier, pick_device())
        if "controls-agree" in config.keep:
            self.controls = FilmClassifier.open_controls(needed(config.controls), pick_device())
        if {"in-distribution", "not-a-copy"} & set(config.keep):
            if real is None or self.classifier is None:
                raise ValueError("--keep in-distribution and not-a-copy need --data, the training films")
            self.training = TrainingFilms.read(real, self.classifier, cache_dir)

    @property
    def identity(self) -> dict[str, str | None]:
        """What decides beside the settings, by the name of its setting: hashes of the networks."""
        return {
            "keep.classifier": self.classifier.identity if self.classifier else "",
            "keep.controls": self.controls.identity if self.controls else None,  # as in older folders
        }

    def judge(
        self,
        films: np.ndarray,
        reports: Sequence[str] | None,
        labels: np.ndarray,
        prompts: Sequence[str] | None = None,
    ) -> list[list[str]]:
        """For each of B pairs the tests that it fails, with what is wrong: "film-agrees (Fracture)".

        Args:
            films: (B, S, S) uint8.
            labels: (B, 14) that were asked for; not mentioned counts as absent, uncertain is not tested, and
                neither are pairs for which nothing is known.
            prompts: B texts, for the tests of controls: the side, grade, sex or view that one does not give
                is not tested.

        Raises:
            ValueError: a test of reports, and no reports.
        """
        if reports is None and self.config.reads_reports:
            raise ValueError(NEED_REPORTS)
        failed: list[list[str]] = [[] for _ in films]
        scores = self._score(films)
        for name in self.config.keep:
            wrong = self._find_wrong(name, films, reports or (), labels, prompts, scores)
            for tests, details in zip(failed, wrong, strict=True):
                if details:
                    tests.append(f"{name} ({', '.join(details)})")
        return failed

    def _find_wrong(
        self,
        name: Test,
        films: np.ndarray,
        reports: Sequence[str],
        labels: np.ndarray,
        prompts: Sequence[str] | None,
        scores: tuple[np.ndarray, np.ndarray] | None,
    ) -> list[list[str]]:
        """What is wrong with each of B pairs by one test."""
        config = self.config
        if name == "film-agrees":
            seen = needed(self.classifier).decide(needed(scores)[0])
            return _name_errors(labels, seen, config.max_film_errors)
        if name == "controls-agree":
            seen = needed(self.controls).predict(to_images(films)).cpu().numpy()
            asked = np.where(np.isnan(seen), UNSAID, read_controls(needed(prompts)))
            return _name_control_errors(compare_shown(asked, seen), config.max_control_errors)
        if name == "report-agrees":
            told = np.nan_to_num(label_reports(list(reports)))  # what it does not mention is absent
            return _name_errors(labels, told, config.max_report_errors)
        if name == "report-controls-agree":
            compared = compare_told(read_controls(needed(prompts)), read_controls(reports))
            return _name_control_errors(compared, config.max_control_errors)
        if name == "consistent":
            kinds = tuple(CONTRADICTIONS)
            return [[kinds[kind] for kind in np.flatnonzero(row)] for row in find_contradictions(reports)]
        training, features = needed(self.training), needed(scores)[1]
        if name == "in-distribution":
            far = training.check.distances(features) > config.max_film_distance
            return [["unlike the training films"] if one else [] for one in far]
        near = training.closeness(films, features) < config.min_copy_distance
        return [["near a training film"] if one else [] for one in near]

    def _score(self, films: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Probabilities (B, 14) and features (B, D), where a test needs them."""
        if self.classifier is None:
            return None
        probabilities, features = self.classifier.score(to_images(films))
        return probabilities.cpu().numpy(), features.cpu().numpy()


def open_filter(
    keep: KeepConfig, data: Path | None, films_only: bool
) -> tuple[PairFilter | None, dict[str, Any]]:
    """The filter that --keep asks for, if any, and the settings of it that decide what is kept.

    Args:
        data: pairs folder with the training films.

    Raises:
        ValueError: a test of reports where none are written, or one that lacks its classifier or films.
    """
    if not keep.keep:
        return None, {}
    if films_only and keep.reads_reports:
        raise ValueError(NEED_REPORTS)
    real = PairsFolder.open(data) if data and data.is_dir() else None
    tests = PairFilter(keep, real, Path(keep.classifier).parent / "cache")
    settings = {f"keep.{name}": value for name, value in flatten(to_dict(keep), list_passing(keep)).items()}
    return tests, settings | tests.identity


def _name_errors(asked: np.ndarray, found: np.ndarray, limit: int) -> list[list[str]]:
    """For each row the findings that differ, where more than `limit` do; NaN is not known, and no error."""
    tested = (asked != UNCERTAIN) & ~np.isnan(asked).all(axis=1, keepdims=True) & ~np.isnan(found)
    wrong = tested & ((asked == POSITIVE) != (found == POSITIVE))
    wrong[wrong.sum(axis=1) <= limit] = False
    return [[FINDINGS[column] for column in np.flatnonzero(row)] for row in wrong]


def _name_control_errors(compared: Compared, limit: int) -> list[list[str]]:
    """For each row the sides, grades, sex and view that differ, where more than `limit` do."""
    names = [
        f"{finding}: {kind}" if finding else kind
        for kind, (_, asked) in compared.items()
        for finding in (FINDINGS if asked.shape[1] == len(FINDINGS) else ("",))
    ]
    wrong = np.concatenate([asked & ~right for right, asked in compared.values()], axis=1)
    wrong[wrong.sum(axis=1) <= limit] = False
    return [[names[place] for place in np.flatnonzero(row)] for row in wrong]
