"""FID and KID of the films of each finding, where there are enough of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from evaluation.images.fid import frechet_distance
from evaluation.images.kid import kernel_distance

MIN_PER_FINDING = 10  # films on each side: below, a distance says nothing
# Of two sets that clearly differ, KID scatters over fresh draws by 1.2 to 1.4 times its value at 20 films, by
# 0.8 at 50 and by less than half of it from 100 on (made-up features of a rectified layer, 60 draws).
MIN_FOR_KID = 100


def compare_findings(
    labels: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray], rng: np.random.Generator
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """FID and KID (None below MIN_FOR_KID films) of each finding's films, and why a finding has none.

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
            enough = num >= MIN_FOR_KID
            kid = kernel_distance(chosen[key], chosen["real"], rng)[0] if enough else None
            figures[name][f"kid{end}"] = kid
    return figures, skipped
