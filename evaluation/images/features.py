"""Feature arrays (N, D): checked, and read in blocks, so that memory does not grow with their number."""

from collections.abc import Iterator

import numpy as np

BLOCK = 4096  # rows read at a time


def check_features(*sets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Feature arrays (N_i, D) as they are; ValueError where no distance can be measured."""
    sets = tuple(np.asarray(x) for x in sets)
    shapes = " and ".join(str(x.shape) for x in sets)
    if any(x.ndim != 2 or x.shape[1] != sets[0].shape[-1] for x in sets):
        raise ValueError(f"features of shapes {shapes}: (N, D) with one D is needed")
    if min(len(x) for x in sets) < 2:
        counts = " and ".join(str(len(x)) for x in sets)
        raise ValueError(f"{counts} films: a distance needs at least 2 on each side")
    if not all(np.isfinite(block).all() for x in sets for block in feature_blocks(x)):
        raise ValueError("features hold NaN or infinity")
    return sets


def feature_blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    """float64 blocks of at most BLOCK rows."""
    for start in range(0, len(x), BLOCK):
        yield np.asarray(x[start : start + BLOCK], np.float64)
