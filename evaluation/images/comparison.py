"""Arrays of films -> figures: distances of features, by finding and together, and the classifier's scores."""

from typing import Any

import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from evaluation.images.fidelity import frechet_distance, kernel_distance
from evaluation.images.manifold import NUM_NEIGHBOURS, neighbour_radii, share_coverage, vendi_score
from evaluation.statistics.findings import mean_over, score_auroc, score_probabilities

MIN_PER_FINDING = 10  # films on each side: below, a distance says nothing


def compare_features(
    synthetic: np.ndarray, real: np.ndarray, floor: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Distances of synthetic against real, and of floor (other real films) against the same real films.

    Args:
        synthetic, real, floor: features (N_i, D); random subsets of the smallest N are compared.

    Returns:
        The figures, and what each synthetic or real film compared adds to them, see `share_coverage`.
    """
    num_films = min(len(synthetic), len(real), len(floor))
    synthetic, real, floor = (
        x if len(x) == num_films else x[np.sort(rng.permutation(len(x))[:num_films])]
        for x in (synthetic, real, floor)
    )
    result: dict[str, Any] = {"num_fidelity": num_films, "num_features": synthetic.shape[1]}
    enough = num_films > NUM_NEIGHBOURS
    radii = neighbour_radii(real, real.mean(axis=0, dtype=np.float64)) if enough else None
    shares: dict[str, dict[str, np.ndarray]] = {"": {}}
    for end, films in (("", synthetic), ("_floor", floor)):
        result[f"fid{end}"] = frechet_distance(films, real)
        result[f"kid{end}"], result[f"kid_std{end}"] = kernel_distance(films, real, rng)
        if enough:
            shares[end] = share_coverage(real, films, real_radii=radii)
            result |= {f"{name}{end}": float(values.mean()) for name, values in shares[end].items()}
        result[f"vendi{end}"] = vendi_score(films)
    result["vendi_real"] = vendi_score(real)
    result["kid_floor_std"] = result.pop("kid_std_floor")
    return result, shares[""]


def compare_findings(
    labels: np.ndarray, features: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """FID and KID of the films of each finding, and why a finding has none.

    Args:
        labels: set ("synthetic", "real", "floor") -> (N, 14); features: set -> (N, D).
    """
    figures, skipped = {}, {}
    for column, name in enumerate(FINDINGS):
        chosen = {key: features[key][labels[key][:, column] == POSITIVE] for key in features}
        fewest = min(chosen, key=lambda key: len(chosen[key]))
        if len(chosen[fewest]) < MIN_PER_FINDING:
            skipped[name] = f"{len(chosen[fewest])} films of the {fewest} set"
            continue
        num = len(chosen[fewest])
        chosen = {key: x[rng.permutation(len(x))[:num]] for key, x in chosen.items()}
        figures[name] = {"num_films": num}
        for end, key in (("", "synthetic"), ("_floor", "floor")):
            figures[name][f"fid{end}"] = frechet_distance(chosen[key], chosen["real"])
            figures[name][f"kid{end}"] = kernel_distance(chosen[key], chosen["real"], rng)[0]
    return figures, skipped


def compare_auroc(
    labels: np.ndarray,
    probabilities: np.ndarray,
    real_labels: np.ndarray,
    real_probabilities: np.ndarray,
    uncertain: str = "ignore",
    blank: str = "negative",
) -> dict[str, Any]:
    """AUROC, average precision and ECE on synthetic films beside those on real films; all (N, 14).

    Means are over the same findings.
    """
    policy = (uncertain, blank)
    synthetic, real = (
        score_auroc(labels, probabilities, *policy),
        score_auroc(real_labels, real_probabilities, *policy),
    )
    shared = [name for name in synthetic["per_finding"] if name in real["per_finding"]]
    skipped = {name: f"real films: {why}" for name, why in real["skipped"].items()}
    skipped |= {name: f"synthetic films: {why}" for name, why in synthetic["skipped"].items()}
    result: dict[str, Any] = {"policy": {"uncertain": uncertain, "blank": blank}}
    for end, scores, arrays in (
        ("", synthetic, (labels, probabilities)),
        ("_real", real, (real_labels, real_probabilities)),
    ):
        figures = score_probabilities(*arrays, *policy)
        for figure in ("auroc", "average_precision", "ece"):
            values = {name: entry[figure] for name, entry in figures.items()}
            result[f"{figure}_mean{end}"] = mean_over(values, shared)
            result[f"{figure}_per_finding{end}"] = values
        result[f"auroc_num_positive{end}"] = scores["num_positive"]
        result[f"auroc_num_negative{end}"] = scores["num_negative"]
    return result | {"auroc_findings": shared, "auroc_skipped": skipped}
