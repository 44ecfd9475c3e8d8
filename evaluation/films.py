"""Do synthetic films look real, and do they carry what was asked? FID, KID, AUROC, diversity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torchmetrics.functional.image import structural_similarity_index_measure

from data_module.images import load_images
from data_module.pairs import SPLITS, PairsFolder
from evaluation.cache import score_cached
from evaluation.classifier import FilmClassifier, FilmScores
from evaluation.fidelity import frechet_distance, kernel_distance
from evaluation.findings_scores import mean_over, score_auroc
from evaluation.inputs import film_paths, row_names

CONVENTIONS = {
    "films.fid": "Frechet distance of the classifier's pooled features, synthetic against real, float64; "
    "num_fidelity films on each side, of the value and of the floor alike, for FID's bias depends on n",
    "films.fid_floor": "the same real films against other real films, of other patients",
    "films.kid": "unbiased MMD^2, kernel (x.y / D + 1)^3, mean over 50 random subsets of half the films, "
    "at most 1,000",
    "films.auroc_mean": "classifier on synthetic films against the prompt's findings; uncertain left out, "
    "not mentioned is negative; mean over the findings that can be scored on both synthetic and real films",
    "films.ssim": "mean SSIM of random pairs of films of one set; above the real films': less diverse",
}


def compare_features(
    synthetic: np.ndarray, real: np.ndarray, floor: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """FID and KID of synthetic against real, and of floor (other real films) against the same real films.

    Args:
        synthetic, real, floor: features (N_i, D); random subsets of the smallest N are compared.
    """
    num_films = min(len(synthetic), len(real), len(floor))
    synthetic, real, floor = (x[rng.permutation(len(x))[:num_films]] for x in (synthetic, real, floor))
    kid, kid_std = kernel_distance(synthetic, real, rng)
    kid_floor, kid_floor_std = kernel_distance(floor, real, rng)
    return {
        "num_fidelity": num_films,
        "fid": frechet_distance(synthetic, real),
        "fid_floor": frechet_distance(floor, real),
        "kid": kid,
        "kid_std": kid_std,
        "kid_floor": kid_floor,
        "kid_floor_std": kid_floor_std,
    }


def compare_auroc(
    labels: np.ndarray, probabilities: np.ndarray, real_labels: np.ndarray, real_probabilities: np.ndarray
) -> dict[str, Any]:
    """AUROC on synthetic films beside that on real films, means over the same findings; all (N, 14)."""
    synthetic = score_auroc(labels, probabilities)
    real = score_auroc(real_labels, real_probabilities)
    shared = [name for name in synthetic["per_finding"] if name in real["per_finding"]]
    skipped = {name: f"real films: {why}" for name, why in real["skipped"].items()}
    skipped |= {name: f"synthetic films: {why}" for name, why in synthetic["skipped"].items()}
    return {
        "auroc_mean": mean_over(synthetic["per_finding"], shared),
        "auroc_mean_real": mean_over(real["per_finding"], shared),
        "auroc_per_finding": synthetic["per_finding"],
        "auroc_per_finding_real": real["per_finding"],
        "auroc_num_positive": synthetic["num_positive"],
        "auroc_num_positive_real": real["num_positive"],
        "auroc_findings": shared,
        "auroc_skipped": skipped,
    }


def mean_ssim(
    paths: Sequence[Path], size: int, rng: np.random.Generator, num_pairs: int = 200
) -> float | None:
    """Mean SSIM of random pairs of different films, brought to `size` (pixels); None for fewer than two."""
    if len(paths) < 2:
        return None
    first = rng.integers(len(paths), size=num_pairs)
    second = (first + rng.integers(1, len(paths), size=num_pairs)) % len(paths)
    used, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    images = load_images([paths[row] for row in used], size)
    a, b = images[places[:num_pairs]], images[places[num_pairs:]]
    return float(structural_similarity_index_measure(a, b, data_range=2.0))


def choose_floor(
    real: PairsFolder, split: str, num_films: int, rng: np.random.Generator
) -> tuple[PairsFolder | None, np.ndarray]:
    """Real films to compare with the split's real films: other rows, or else half of the split.

    Rows of the other splits are preferred, those first that the classifier was not trained on. Where there
    are fewer than half of `num_films`, the split is cut in two disjoint halves by patient.

    Returns:
        (folder of other rows, all-True mask) or (None, (N,) bool: the rows of the split that are the floor).
    """
    split_table = real.split(split).table
    parts = []
    for name in sorted(SPLITS, key=("validation", "test", "train").index):
        rows = real.table[real.table["split"] == name]
        rows = rows[rows["file_name"].notna()]
        if name != split and len(rows):
            parts.append(rows.iloc[rng.permutation(len(rows))])
    others = pd.concat(parts)[:num_films].reset_index(drop=True) if parts else split_table[:0]
    if len(others) >= max(num_films // 2, 2):
        return PairsFolder(real.root, others), np.ones(len(split_table), bool)
    patients = split_table["patient_id"]
    order = patients.unique()[rng.permutation(patients.nunique())]
    counts = patients.value_counts().loc[order].cumsum()
    return None, patients.isin(counts.index[counts <= len(split_table) // 2]).to_numpy()


def evaluate_films(
    real: PairsFolder,
    synthetic: PairsFolder,
    classifier: FilmClassifier,
    *,
    split: str = "test",
    seed: int = 0,
    batch_size: int = 64,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """The section `films` of results.json: synthetic films against the real films of one split.

    Raises:
        ValueError: no film of a set can be read, or fewer than two on a side.
    """
    rng = np.random.default_rng(seed)
    held_out = real.split(split)

    def score(folder: PairsFolder, name: str) -> FilmScores:
        return score_cached(classifier, film_paths(folder), cache_dir, batch_size, progress=name)

    made, truth = score(synthetic, "synthetic films"), score(held_out, f"real films, {split}")
    num_films = min(int(made.readable.sum()), int(truth.readable.sum()))
    others, half = choose_floor(real, split, num_films, rng)
    if others is not None:
        scored = score(others, "real films, floor")
        reference, floor = truth.features[truth.readable], scored.features[scored.readable]
        counts = others.table["split"].value_counts().to_dict()
        note = f"other real films: {', '.join(f'{n} of split {name}' for name, n in counts.items())}"
    else:
        reference, floor = truth.features[truth.readable & ~half], truth.features[truth.readable & half]
        note = f"two halves of split {split}, by patient: the folder has too few other films"
    result: dict[str, Any] = {"num_real": len(truth.probabilities), "num_synthetic": len(made.probabilities)}
    result |= compare_features(made.features[made.readable], reference, floor, rng)
    result["floor"] = note
    result |= compare_auroc(synthetic.labels, made.probabilities, held_out.labels, truth.probabilities)
    for key, folder, scores in (("ssim", synthetic, made), ("ssim_real", held_out, truth)):
        readable = [p for p, good in zip(film_paths(folder), scores.readable, strict=True) if good]
        result[key] = mean_ssim(readable, classifier.image_size, rng)
    for key, folder, scores in (("synthetic", synthetic, made), ("real", held_out, truth)):
        names = row_names(folder)
        result[f"num_unreadable_{key}"] = len(scores.failures)
        result[f"unreadable_{key}"] = {names[row]: why for row, why in scores.failures.items()}
    return result
