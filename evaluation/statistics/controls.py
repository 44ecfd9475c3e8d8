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


# Of the five controls of a finding (`attribute_labels`) those that tell its side, and its grade.
_PARTS = {"side": slice(0, 2), "severity": slice(2, 5)}

# Kind -> (right, asked for at all), bool: (N, 14) of the findings' sides and grades, (N, 1) of sex and view.
Compared = dict[str, tuple[np.ndarray, np.ndarray]]


def compare_shown(asked: np.ndarray, seen: np.ndarray) -> Compared:
    """Which sides, grades, sex and view N films show as asked.

    A side is left, right or both: those that the network holds likelier than not, else the likelier of the
    two. A grade is the likeliest.

    Args:
        asked: (N, C) of `data_module.controls`; seen: (N, C) probabilities.
    """
    wanted, found = _by_finding(asked), _by_finding(seen)
    sides = found[..., :2] >= 0.5
    neither = ~sides.any(axis=-1, keepdims=True)
    sides |= neither & (np.arange(2) == found[..., :2].argmax(axis=-1)[..., None])
    right = {
        "side": (sides == (wanted[..., :2] >= 0.5)).all(axis=-1),
        "severity": found[..., 2:].argmax(axis=-1) == wanted[..., 2:].argmax(axis=-1),
    }
    compared = {kind: (right[kind], _is_said(wanted[..., part])) for kind, part in _PARTS.items()}
    for kind, place in (("sex", [-3]), ("view", [-2])):
        compared[kind] = ((seen[:, place] >= 0.5) == (asked[:, place] >= 0.5), asked[:, place] != UNSAID)
    return compared


def compare_told(asked: np.ndarray, told: np.ndarray) -> Compared:
    """Which sides and grades N reports tell as asked; one that leaves them out is wrong.

    Args:
        asked, told: (N, C) of `data_module.controls`, of the prompts and of the reports.
    """
    wanted, found = _by_finding(asked), _by_finding(told)
    return {
        kind: ((found[..., part] == wanted[..., part]).all(axis=-1), _is_said(wanted[..., part]))
        for kind, part in _PARTS.items()
    }


def _is_said(controls: np.ndarray) -> np.ndarray:
    """(N, 14) bool: whether all of (N, 14, P) is said."""
    return (controls != UNSAID).all(axis=-1)


def _by_finding(controls: np.ndarray) -> np.ndarray:
    """(N, 14, 5): left, right and the three grades of each finding."""
    return controls[:, :NUM_ATTRIBUTES].reshape(len(controls), len(FINDINGS), 5)


def count_shown(asked: np.ndarray, seen: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What of each kind N films show as asked, and how much of it was asked (see `compare_shown`).

    Of age the sum is of absolute errors in years.

    Args:
        asked: (N, C) of `data_module.controls`; seen: (N, C) probabilities.

    Returns:
        Kind of CONTROLS_SHOWN -> (sum right or of errors, number asked), (N,) float64 each.
    """
    counts = {
        kind: ((right & said).sum(axis=1), said.sum(axis=1))
        for kind, (right, said) in compare_shown(asked, seen).items()
    }
    said = asked[:, -1] != UNSAID
    counts["age"] = (np.where(said, np.abs(seen[:, -1] - asked[:, -1]) * 100.0, 0.0), said)
    return {name: (a.astype(np.float64), b.astype(np.float64)) for name, (a, b) in counts.items()}


def score_shown(asked: np.ndarray, seen: np.ndarray) -> dict[str, float | None]:
    """Kind of CONTROLS_SHOWN -> share shown as asked, for age the mean error; None where none was asked."""
    sums = {name: (a.sum(), b.sum()) for name, (a, b) in count_shown(asked, seen).items()}
    return {name: float(a / b) if b else None for name, (a, b) in sums.items()}
