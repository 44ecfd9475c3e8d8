"""The section `films`: do synthetic films look real, do they carry what was asked, and are they varied?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_module.images import read_pixels
from data_module.pairs import SPLITS, PairsFolder
from evaluation.cache import score_cached
from evaluation.classifier import FilmClassifier, FilmScores
from evaluation.diversity import MAX_SIDE, mean_similarity, num_scales
from evaluation.fidelity import frechet_influence, kernel_influence
from evaluation.film_scores import MIN_PER_FINDING, compare_auroc, compare_features, compare_findings
from evaluation.inputs import film_paths, prompts, row_names
from evaluation.manifold import NUM_NEIGHBOURS
from evaluation.measures import REAL, SYNTHETIC

CONVENTIONS = {
    "films.fid": "Frechet distance of the first extractor's pooled features, synthetic to real; float64; "
    "num_fidelity films on each side, of the value and of the floor alike, for FID's bias depends on n",
    "films.fid_floor": "the same real films against other real films, of other patients",
    "films.kid": "unbiased MMD^2, kernel (x.y / D + 1)^3, mean over 50 random subsets of half the films, "
    "at most 1,000",
    "films.precision": f"with recall, density and coverage: manifolds of {NUM_NEIGHBOURS} nearest neighbours",
    "films.vendi": "effective number of different films among num_fidelity: exp of the entropy of the "
    "cosine kernel's eigenvalues",
    "films.features": "the same figures over every extractor asked for, each with its preprocessing",
    "films.per_finding": "FID and KID of films with the finding against real ones with it, floor at the same "
    f"n; findings with fewer than {MIN_PER_FINDING} films on a side are named",
    "films.auroc_mean": "classifier on synthetic films against the prompt's findings; uncertain and not "
    "mentioned as films.policy says; mean over the findings with both classes on both sides",
    "films.ece_mean": "expected calibration error over 15 equal bins of probability",
    "films.ssim": "mean SSIM of random pairs of films of one set; above the real films': less diverse",
    "films.ms_ssim_within_prompt": "mean MS-SSIM of random pairs of films of the same prompt; null where no "
    "prompt was drawn twice",
    "films.intervals": "95% percentile bootstrap, patients resampled; FID and KID by each film's influence, "
    "for a resample of films has a higher FID by itself",
}


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


def _subset(readable: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted rows of `num` random readable films."""
    rows = np.flatnonzero(readable)
    return np.sort(rng.permutation(rows)[:num])


def evaluate_films(
    real: PairsFolder,
    synthetic: PairsFolder,
    extractors: Sequence[FilmClassifier],
    classifier: FilmClassifier | None = None,
    *,
    split: str = "test",
    policy: tuple[str, str] = ("ignore", "negative"),
    seed: int = 0,
    batch_size: int = 64,
    cache_dir: Path | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The section `films` of results.json: synthetic films against the real films of one split.

    Args:
        extractors: where features come from; the first gives the headline figures.
        classifier: scores the findings; None: they are skipped.
        policy: what uncertain and blank findings become for the AUROC.

    Returns:
        The section, and what each film adds to its figures (see `measures.of_films`).

    Raises:
        ValueError: no film of a set can be read, or fewer than two on a side.
    """
    rng = np.random.default_rng(seed)
    held_out = real.split(split)

    def scan(network: FilmClassifier, folder: PairsFolder, name: str) -> FilmScores:
        return score_cached(network, film_paths(folder), cache_dir, batch_size, progress=name)

    made = scan(extractors[0], synthetic, "synthetic films")
    truth = scan(extractors[0], held_out, f"real films, {split}")
    others, kept = choose_floor(real, split, int(min(made.readable.sum(), truth.readable.sum())), rng)
    folders = {"synthetic": synthetic, "real": held_out, "floor": held_out if others is None else others}
    masks = {"synthetic": made.readable, "real": truth.readable, "floor": truth.readable & kept}
    if others is None:
        masks["real"] = truth.readable & ~kept
    else:
        masks["floor"] = scan(extractors[0], others, "real films, floor").readable
    num_films = min(int(mask.sum()) for mask in masks.values())
    rows = {key: _subset(mask, num_films, rng) for key, mask in masks.items()}

    result: dict[str, Any] = {"num_real": len(held_out), "num_synthetic": len(synthetic)}
    result["floor"] = _describe_floor(others, split)
    distances, influences = _score_features(extractors, folders, rows, scan, rng)
    result |= distances
    seen = tuple(
        scan(classifier, folder, "findings").probabilities
        if classifier
        else np.full((len(folder), 14), np.nan)
        for folder in (synthetic, held_out)
    )
    result |= compare_auroc(synthetic.labels, seen[0], held_out.labels, seen[1], *policy)
    for end, key, folder, scores in (("", "synthetic", synthetic, made), ("_real", "real", held_out, truth)):
        result |= _similarities(folder, scores, end, rng)
        names = row_names(folder)
        result[f"num_unreadable_{key}"] = len(scores.failures)
        result[f"unreadable_{key}"] = {names[row]: why for row, why in scores.failures.items()}
    items = _items(synthetic, held_out, seen, result, policy)
    for name, (of_synthetic, of_real) in influences.items():
        items[f"{name}_influence"] = np.zeros(len(items["name"]))
        items[f"{name}_influence"][rows["synthetic"]] = of_synthetic
        items[f"{name}_influence"][len(synthetic) + rows["real"]] = of_real
    return result, items


def _score_features(
    extractors: Sequence[FilmClassifier],
    folders: Mapping[str, PairsFolder],
    rows: Mapping[str, np.ndarray],
    scan: Callable[[FilmClassifier, PairsFolder, str], FilmScores],
    rng: np.random.Generator,
) -> tuple[dict[str, Any], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Distances over every extractor's features, the first one's in the headline keys; and its influences."""
    result: dict[str, Any] = {"features": {}}
    influences: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for extractor in extractors:
        features = {
            key: scan(extractor, folder, f"{key} films").features[rows[key]]
            for key, folder in folders.items()
        }
        figures = compare_features(**features, rng=rng)
        if extractor is extractors[0]:
            result |= figures
            labels = {key: folder.labels[rows[key]] for key, folder in folders.items()}
            result["per_finding"], result["per_finding_skipped"] = compare_findings(labels, features, rng)
            influences = _influences(features)
        stated = {"hash": extractor.identity, "preprocessing": extractor.preprocessing}
        result["features"][extractor.source] = {**stated, **figures}
    return result, influences


def _describe_floor(others: PairsFolder | None, split: str) -> str:
    if others is None:
        return f"two halves of split {split}, by patient: the folder has too few other films"
    counts = others.table["split"].value_counts().to_dict()
    return f"other real films: {', '.join(f'{n} of split {name}' for name, n in counts.items())}"


def _influences(features: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """fid and kid -> each film's share, of synthetic and of real films, divided by their number."""
    made, truth = features["synthetic"], features["real"]
    both = {
        "fid": frechet_influence(made, truth),
        "kid": kernel_influence(made, truth),
    }
    return {name: tuple(values / len(values) for values in pair) for name, pair in both.items()}


def _similarities(
    folder: PairsFolder, scores: FilmScores, end: str, rng: np.random.Generator
) -> dict[str, float | int | None]:
    """ssim and ms_ssim_within_prompt of the readable films, at the size of the first, at most MAX_SIDE."""
    paths = [p for p, good in zip(film_paths(folder), scores.readable, strict=True) if good]
    asked = [text for text, good in zip(prompts(folder), scores.readable, strict=True) if good]
    size = min(MAX_SIDE, *read_pixels(paths[0]).shape)
    known = [row for row, text in enumerate(asked) if text]
    within = mean_similarity([paths[row] for row in known], size, rng, [asked[row] for row in known])
    return {
        f"ssim{end}": mean_similarity(paths, size, rng),
        f"ms_ssim_within_prompt{end}": within,
        f"ms_ssim_scales{end}": num_scales(size),
        f"ssim_size{end}": size,
    }


def _items(
    synthetic: PairsFolder,
    held_out: PairsFolder,
    probabilities: tuple[np.ndarray, np.ndarray],
    result: dict[str, Any],
    policy: tuple[str, str],
) -> dict[str, np.ndarray]:
    # A prompt belongs to the name: two systems are paired only where they were asked for the same.
    asked = zip(row_names(synthetic), prompts(synthetic), strict=True)
    names = [f"{name}: {prompt}" for name, prompt in asked] + row_names(held_out)
    folders = (synthetic, held_out)
    return {
        "name": np.array(names),
        "patient": np.concatenate([folder.table["patient_id"].to_numpy(str) for folder in folders]),
        "stratum": np.repeat([SYNTHETIC, REAL], [len(folder) for folder in folders]),
        "labels": np.concatenate([folder.labels for folder in folders]),
        "probabilities": np.concatenate(probabilities).astype(np.float32),
        "findings": np.array(result["auroc_findings"], dtype=str),
        "policy": np.array(policy),
        "fid": np.array(result["fid"]),
        "kid": np.array(result["kid"]),
    }
