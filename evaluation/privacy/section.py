"""The section `privacy` of results.json: synthetic films and reports against the training rows."""

from pathlib import Path
from typing import Any

import numpy as np

from data_module.pairs import PairsFolder, film_paths
from evaluation.inputs.rows import row_names, texts
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.privacy.copied_text import compare_copies
from evaluation.privacy.distances import (
    FRACTION,
    MEASURES,
    compare_distances,
    load_standardised,
    nearest_training_films,
)
from evaluation.statistics.measures import REAL, SYNTHETIC

MAX_LISTED = 50
TRAIN = "train"


def evaluate_privacy(
    real: PairsFolder,
    synthetic: PairsFolder,
    extractor: FilmClassifier,
    *,
    split: str = "test",
    batch_size: int = 64,
    cache_dir: Path | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `privacy` of results.json: nearest training film and report of every synthetic one.

    Returns:
        The section, and the distances of all readable films (see `measures.of_privacy`).

    Raises:
        ValueError: no training rows, or no film of a set that can be read.
    """
    if split == TRAIN or not (real.table["split"] == TRAIN).any():
        raise ValueError(
            f"privacy compares with the training films: {real.root} needs rows of split {TRAIN!r}, and "
            "--split must name another"
        )
    folders = {"training": real.split(TRAIN), "synthetic": synthetic, "real": real.split(split)}
    pixels, features, names, kept = {}, {}, {}, {}
    for key, folder in folders.items():
        paths = film_paths(folder)
        scores = score_cached(extractor, paths, cache_dir, batch_size, progress=f"{key} films")
        good = kept[key] = np.flatnonzero(scores.readable)
        pixels[key] = load_standardised([paths[row] for row in good])
        features[key] = scores.features[good]
        names[key] = [row_names(folder)[row] for row in good]
    known = pixels["training"], features["training"]
    distances, rows = nearest_training_films(pixels["synthetic"], features["synthetic"], *known)
    distances_real, _ = nearest_training_films(pixels["real"], features["real"], *known)
    compared = compare_distances(distances, distances_real)
    flagged, closeness = compared.pop("flagged"), compared.pop("closeness")
    listed = np.argsort(closeness, kind="stable")[:MAX_LISTED]
    result: dict[str, Any] = {
        "num_synthetic": len(names["synthetic"]),
        "num_real": len(names["real"]),
        "num_training": len(names["training"]),
        **compared,
        "num_flagged": int(flagged.sum()),
        "nearest": [
            {
                "film": names["synthetic"][row],
                "training_film": names["training"][rows[row]],
                "flagged": bool(flagged[row]),
                **{name: float(distances[name][row]) for name in MEASURES},
            }
            for row in listed
        ],
        "extractor": {"source": extractor.source, "hash": extractor.identity},
    }
    result["reports"] = compare_copies(*(texts(folders[key]) for key in ("synthetic", "real", "training")))
    patients = [folders[key].table["patient_id"].to_numpy(str)[rows] for key, rows in kept.items()]
    items = {
        "name": np.array(names["synthetic"] + names["real"]),
        "patient": np.concatenate(patients[1:]),
        "stratum": np.repeat([SYNTHETIC, REAL], [len(names["synthetic"]), len(names["real"])]),
    }
    for name in MEASURES:
        items[name] = np.concatenate([distances[name], distances_real[name]])
        items[f"near_{name}"] = np.array(compared[name]["threshold"] / FRACTION)
    return result, items
