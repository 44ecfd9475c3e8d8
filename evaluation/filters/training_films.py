"""What new films are held against: the training films, and how near held-out real films come to them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_module.film_check import FilmCheck
from data_module.pairs import PairsFolder, film_paths
from evaluation.networks.cache import hash_films, read_arrays, score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.privacy.distances import (
    DISTANCES,
    FRACTION,
    QUANTILE,
    load_standardized,
    nearest_training_films,
    standardize,
)
from runtime.files import replacing

TRAIN = "train"
Films = tuple[np.ndarray, np.ndarray]  # (N, S, S) standardized pixels, (N, D) features


@dataclass(frozen=True)
class TrainingFilms:
    """Training films with the thresholds that tell what is unlike them, and what is a copy of one."""

    films: Films
    check: FilmCheck
    thresholds: dict[str, float]  # kind of distance -> below it a film is a near-copy

    @classmethod
    def read(
        cls, real: PairsFolder, classifier: FilmClassifier, cache_dir: Path | None, batch_size: int = 64
    ) -> "TrainingFilms":
        """From the train rows of a folder; its other rows are the held-out films.

        Raises:
            ValueError: it has no train rows or no others, or their films cannot be read.
        """
        train = real.table["split"] == TRAIN
        if not real.has_films or train.all() or not train.any():
            raise ValueError(
                f"--keep in-distribution and not-a-copy compare with training films and with others: "
                f"{real.root} needs films of split {TRAIN} and of another"
            )
        films = {}
        for name, mask in (("training", train), ("held-out", ~train)):
            rows = PairsFolder(real.root, real.table[mask].reset_index(drop=True))
            films[name] = _read(rows, classifier, cache_dir, batch_size, name)
        path = cache_dir and cache_dir / f"near-{classifier.identity}-{hash_films(film_paths(real))}.npz"
        distances = _distances(films["held-out"], films["training"], path)
        thresholds = {
            kind: max(FRACTION * float(np.quantile(distances[kind], QUANTILE, method="lower")), 1e-6)
            for kind in DISTANCES
        }
        return cls(films["training"], FilmCheck.fit(films["training"][1]), thresholds)

    def closeness(self, pixels: np.ndarray, features: np.ndarray) -> np.ndarray:
        """(B,) of films (B, H, W) uint8 with features (B, D): below 1, a near-copy of a training film."""
        distances, _ = nearest_training_films(standardize(pixels), features, *self.films)
        return np.min([distances[kind] / self.thresholds[kind] for kind in DISTANCES], axis=0)


def _read(
    folder: PairsFolder, classifier: FilmClassifier, cache_dir: Path | None, batch_size: int, name: str
) -> Films:
    paths = film_paths(folder)
    scores = score_cached(classifier, paths, cache_dir, batch_size, progress=f"{name} films")
    good = np.flatnonzero(scores.readable)
    return load_standardized([paths[row] for row in good]), scores.features[good]


def _distances(films: Films, others: Films, path: Path | None) -> dict[str, np.ndarray]:
    """Distances of held-out films to the nearest training film, kept in a file."""
    if path and (saved := read_arrays(path, tuple(DISTANCES))):
        return saved
    distances, _ = nearest_training_films(*films, *others)
    if path:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **distances)
    return distances
