"""Does a film show the sides, grades, sex, view and age that are asked for?"""

import numpy as np

from data_module.controls import UNSAID
from data_module.findings import FINDINGS
from data_module.labeler.attributes import NUM_ATTRIBUTES

# What is counted, and its title.
CONTROLS_SHOWN = {
    "side": "side of the finding",
    "severity": "grade of the finding",
    "sex": "sex",
    "view": "view",
    "age": "age, mean error in years",
}


def count_shown(asked: np.ndarray, seen: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What of each kind N films show as asked, and how much of it was asked.

    A side is left, right or both: those that the network holds likelier than not, else the likelier of the
    two. A grade is the likeliest. Of age the sum is of absolute errors in years.

    Args:
        asked: (N, C) of `data_module.controls`; seen: (N, C) probabilities.

    Returns:
        Kind of CONTROLS_SHOWN -> (sum right or of errors, number asked), (N,) float64 each.
    """
    wanted, found = (x[:, :NUM_ATTRIBUTES].reshape(len(x), len(FINDINGS), 5) for x in (asked, seen))
    sides = found[..., :2] >= 0.5
    neither = ~sides.any(axis=-1, keepdims=True)
    sides |= neither & (np.arange(2) == found[..., :2].argmax(axis=-1)[..., None])
    side = (sides == (wanted[..., :2] >= 0.5)).all(axis=-1)
    grade = found[..., 2:].argmax(axis=-1) == wanted[..., 2:].argmax(axis=-1)
    counts = {}
    for name, right, place in (("side", side, 0), ("severity", grade, 2)):
        said = wanted[..., place] != UNSAID
        counts[name] = ((right & said).sum(axis=1), said.sum(axis=1))
    for name, place in (("sex", -3), ("view", -2)):
        said = asked[:, place] != UNSAID
        counts[name] = (said & ((seen[:, place] >= 0.5) == (asked[:, place] >= 0.5)), said)
    said = asked[:, -1] != UNSAID
    counts["age"] = (np.where(said, np.abs(seen[:, -1] - asked[:, -1]) * 100.0, 0.0), said)
    return {name: (a.astype(np.float64), b.astype(np.float64)) for name, (a, b) in counts.items()}


def score_shown(asked: np.ndarray, seen: np.ndarray) -> dict[str, float | None]:
    """Kind of CONTROLS_SHOWN -> share shown as asked, for age the mean error; None where none was asked."""
    sums = {name: (a.sum(), b.sum()) for name, (a, b) in count_shown(asked, seen).items()}
    return {name: float(a / b) if b else None for name, (a, b) in sums.items()}
