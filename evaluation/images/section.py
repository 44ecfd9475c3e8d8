"""The section `films`: do synthetic films look real, do they carry what was asked, and are they varied?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_module.images import read_pixels
from data_module.pairs import SPLITS, PairsFolder, film_paths
from evaluation.images.comparison import MIN_PER_FINDING, compare_auroc, compare_features, compare_findings
from evaluation.images.diversity import MAX_SIDE, compare_pairs, num_scales
from evaluation.images.fidelity import frechet_influence, kernel_influence
from evaluation.images.manifold import NUM_NEIGHBOURS, vendi_influence
from evaluation.inputs.rows import prompts, row_names, texts
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier, FilmScores
from evaluation.statistics.measures import INFLUENCED, REAL, SYNTHETIC

CONVENTIONS = {
    "films.fid": "Frechet distance of the first extractor's pooled features, synthetic to real; float64; "
    "num_fidelity films on each side, of the value and of the floor alike, for FID's bias depends on n",
    "films.fid_floor": "the same real films against other real films, of other patients",
    "films.kid": "unbiased MMD^2, kernel (x.y / D + 1)^3, mean over 50 random subsets of half the films, "
    "at most 1,000",
    "films.precision": f"share of synthetic films inside the real films' manifold, the balls of radius "
    f"{NUM_NEIGHBOURS}th nearest neighbour; density: mean number of such balls by {NUM_NEIGHBOURS}",
    "films.recall": "share of real films inside the synthetic films' manifold; coverage: share of real films "
    "whose ball holds a synthetic film",
    "films.vendi": "effective number of different films among num_fidelity: exp of the entropy of the "
    "cosine kernel's eigenvalues",
    "films.features": "the same figures over every extractor asked for, each with its preprocessing",
    "films.per_finding": "FID and KID of films with the finding against real ones with it, floor at the same "
    f"n; findings with fewer than {MIN_PER_FINDING} films on a side are named",
    "films.auroc_mean": "classifier on synthetic films against the prompt's findings; uncertain and not "
    "mentioned as films.policy says; mean over the findings with both classes on both sides",
    "films.average_precision_mean": "of the same films and findings; depends on the share of positives, "
    "which the table gives",
    "films.ece_mean": "expected calibration error over 15 equal bins of probability",
    "films.ssim": "mean SSIM of random pairs of films of one set; above the real films': less diverse",
    "films.ms_ssim_within_prompt": "mean MS-SSIM of random pairs of films of the same prompt; null where no "
    "prompt was drawn twice",
    "films.num_unlabelled_synthetic": "films without a prompt, report or finding: not in AUROC, AP and ECE",
    "films.intervals": "95% percentile bootstrap, patients resampled. FID, KID and Vendi by each film's "
    "influence, for a resample, which repeats films, has a higher FID and a lower Vendi score by itself; "
    "precision, recall, density and coverage with the manifolds held, which leaves out that another draw of "
    "the other set would move them; ECE with the sign of each bin held; SSIM over the pairs drawn",
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
    distances, parts = _score_features(extractors, folders, rows, scan, rng)
    result |= distances
    seen = []
    for key, folder in (("synthetic", synthetic), ("real", held_out)):
        known = _labelled(folder)
        probabilities = np.full((len(folder), 14), np.nan, np.float32)
        if classifier:
            probabilities[known] = scan(classifier, folder, "findings").probabilities[known]
        seen.append(probabilities)
        result[f"num_unlabelled_{key}"] = int((~known).sum())
    result |= compare_auroc(synthetic.labels, seen[0], held_out.labels, seen[1], *policy)
    for end, key, folder, scores in (("", "synthetic", synthetic, made), ("_real", "real", held_out, truth)):
        figures, pairs = _similarities(folder, scores, end, rng)
        result |= figures
        parts |= {name: x + len(synthetic) * (key == "real") * ("pairs" in name) for name, x in pairs.items()}
        names = row_names(folder)
        result[f"num_unreadable_{key}"] = len(scores.failures)
        result[f"unreadable_{key}"] = {names[row]: why for row, why in scores.failures.items()}
    return result, _items(synthetic, held_out, np.concatenate(seen), result, policy) | parts


def _labelled(folder: PairsFolder) -> np.ndarray:
    """(N,) bool: rows that say anything of their film. Others are unknown, and not films without findings."""
    said = zip(
        prompts(folder), texts(folder), strict=True
    )  # prompts speak of the findings where there are any
    return np.array([bool(prompt.strip() or text.strip()) for prompt, text in said], bool)


def _score_features(
    extractors: Sequence[FilmClassifier],
    folders: Mapping[str, PairsFolder],
    rows: Mapping[str, np.ndarray],
    scan: Callable[[FilmClassifier, PairsFolder, str], FilmScores],
    rng: np.random.Generator,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Distances over every extractor's features; the first one's in the headline keys, and as items."""
    result: dict[str, Any] = {"features": {}}
    items: dict[str, np.ndarray] = {}
    for extractor in extractors:
        features = {
            key: scan(extractor, folder, f"{key} films").features[rows[key]]
            for key, folder in folders.items()
        }
        figures, shares = compare_features(**features, rng=rng)
        if extractor is extractors[0]:
            result |= figures
            labels = {key: folder.labels[rows[key]] for key, folder in folders.items()}
            result["per_finding"], result["per_finding_skipped"] = compare_findings(labels, features, rng)
            items = _spread(features, shares, rows, [len(folders[key]) for key in ("synthetic", "real")])
        stated = {"hash": extractor.identity, "preprocessing": extractor.preprocessing}
        result["features"][extractor.source] = {**stated, **figures}
    return result, items


def _describe_floor(others: PairsFolder | None, split: str) -> str:
    if others is None:
        return f"two halves of split {split}, by patient: the folder has too few other films"
    counts = others.table["split"].value_counts().to_dict()
    return f"other real films: {', '.join(f'{n} of split {name}' for name, n in counts.items())}"


def _spread(
    features: Mapping[str, np.ndarray],
    shares: Mapping[str, np.ndarray],
    rows: Mapping[str, np.ndarray],
    sizes: Sequence[int],
) -> dict[str, np.ndarray]:
    """What each film adds to the feature figures, over all synthetic and then all real films (see measures).

    "fid_influence" ...: divided by the films of its side, 0 for films that were not compared;
    "score_precision" ...: `shares`, NaN for these and for the other side.
    """
    made, truth = features["synthetic"], features["real"]
    places = (rows["synthetic"], sizes[0] + rows["real"])
    influences = {
        "fid": frechet_influence(made, truth),
        "kid": kernel_influence(made, truth),
        "vendi": (vendi_influence(made), np.zeros(len(truth))),
    }
    items = {}
    for name, pair in influences.items():
        items[f"{name}_influence"] = np.zeros(sum(sizes))
        for place, values in zip(places, pair, strict=True):
            items[f"{name}_influence"][place] = values / len(values)
    for name, values in shares.items():
        items[f"score_{name}"] = np.full(sum(sizes), np.nan)
        items[f"score_{name}"][places[name in ("recall", "coverage")]] = (
            values  # these are shares of real films
        )
    return items


def _similarities(
    folder: PairsFolder, scores: FilmScores, end: str, rng: np.random.Generator
) -> tuple[dict[str, float | int | None], dict[str, np.ndarray]]:
    """ssim and ms_ssim_within_prompt of the readable films, at the size of the first, at most MAX_SIDE.

    Returns:
        The figures; and the pairs drawn, as rows of the folder, with their values.
    """
    paths, asked = film_paths(folder), prompts(folder)
    every = np.flatnonzero(scores.readable)
    prompted = np.array([row for row in every if asked[row]], int)
    size = min(MAX_SIDE, *read_pixels(paths[every[0]]).shape)
    figures: dict[str, float | int | None] = {}
    pairs = {}
    for name, rows, groups in (
        ("ms_ssim_within_prompt", prompted, [asked[row] for row in prompted]),
        ("ssim", every, None),
    ):
        found = compare_pairs([paths[row] for row in rows], size, rng, groups)
        figures[f"{name}{end}"] = found.mean
        pairs |= {f"{name}_pairs{end}": rows[found.pairs], f"{name}_values{end}": found.values}
    return figures | {f"ms_ssim_scales{end}": num_scales(size), f"ssim_size{end}": size}, pairs


def _items(
    synthetic: PairsFolder,
    held_out: PairsFolder,
    probabilities: np.ndarray,
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
        "probabilities": probabilities,
        "findings": np.array(result["auroc_findings"], dtype=str),
        "policy": np.array(policy),
        **{name: np.array(result[name]) for name in INFLUENCED},
    }
