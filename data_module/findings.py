"""The 14 CheXpert findings, their certainty codes and the prompt sentence: the one owner of these facts.

Findings are matched by name, never by position: MIMIC-CXR-JPG, CheXbert, chexpert-labeler and
torchxrayvision all order them differently. Source of names and codes: Irvin et al., CheXpert, AAAI 2019.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Labeler = Callable[[Sequence[str]], np.ndarray]  # reports -> (N, 14) certainties in the order of FINDINGS

FINDINGS: tuple[str, ...] = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# The five findings that CheXpert's competition scored.
FIVE_FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Pleural Effusion",
)

POSITIVE, NEGATIVE, UNCERTAIN = 1.0, 0.0, -1.0  # a finding that is not mentioned is NaN (an empty cell)
# Grades: of what has a size (effusion, pneumothorax), and of the rest.
SIZES, DEGREES = ("small", "moderate", "large"), ("mild", "moderate", "severe")
PROMPT_START = "A chest X ray image"
CERTAINTIES = (POSITIVE, NEGATIVE, UNCERTAIN)
THRESHOLDS_FILE = "thresholds.json"  # in a classifier folder: finding -> decision threshold


def _enumerate(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def prompt_sentence(labels: Mapping[str, float]) -> str:
    """The prompt of CXR-IRGen (WACV 2024, sec. 3.1) for one film.

    "A chest X ray image[ with A and B][, without C][, and with uncertain D]", names in lower case. A "No
    Finding" that another finding contradicts is not said.

    Args:
        labels: finding name -> 1 (present), 0 (absent), -1 (uncertain); NaN or missing = not mentioned.

    Raises:
        ValueError: a name that is not one of FINDINGS, or a code that is not a certainty.
    """
    check_labels(labels)
    labels = settle_no_finding(labels)
    groups = {code: [name.lower() for name in FINDINGS if labels.get(name) == code] for code in CERTAINTIES}
    sentence = PROMPT_START
    if groups[POSITIVE]:
        sentence += f" with {_enumerate(groups[POSITIVE])}"
    if groups[NEGATIVE]:
        sentence += f", without {_enumerate(groups[NEGATIVE])}"
    if groups[UNCERTAIN]:
        sentence += f", and with uncertain {_enumerate(groups[UNCERTAIN])}"
    return sentence


def settle_no_finding(labels: Mapping[str, float]) -> dict[str, float]:
    """The labels without a positive "No Finding" that another positive or uncertain finding (but a device)
    contradicts: a film of a finding is never called normal."""
    others = (code for name, code in labels.items() if name not in ("No Finding", "Support Devices"))
    contradicted = any(code in (POSITIVE, UNCERTAIN) for code in others)
    drop = "No Finding" if labels.get("No Finding") == POSITIVE and contradicted else None
    return {name: code for name, code in labels.items() if name != drop}


def check_labels(labels: Mapping[str, float]) -> None:
    """Raise ValueError for a finding or a certainty code that does not exist."""
    for name, code in labels.items():
        if name not in FINDINGS:
            raise ValueError(f"{name!r} is not one of the 14 findings: {', '.join(FINDINGS)}")
        if not (code is None or code != code or code in CERTAINTIES):  # NaN differs from itself
            raise ValueError(f"{name}: {code!r} is not a certainty (1, 0, -1 or empty)")


def label_array(table: "pd.DataFrame") -> np.ndarray:
    """Finding columns of a table, taken by name: (N, 14) float32 in the order of FINDINGS, NaN = empty."""
    return table.reindex(columns=list(FINDINGS)).to_numpy(dtype=np.float32, na_value=np.nan)


def as_binary(labels: np.ndarray, uncertain: str = "ignore", blank: str = "negative") -> np.ndarray:
    """Certainty codes -> 1, 0 or NaN (= leave out), under a stated policy.

    Args:
        labels: any shape, values 1, 0, -1 or NaN.
        uncertain: what -1 becomes: "positive", "negative" or "ignore".
        blank: what NaN (not mentioned) becomes: "negative" or "ignore".
    """
    policy = {"positive": POSITIVE, "negative": NEGATIVE, "ignore": np.nan}
    for flag, value, allowed in (
        ("uncertain", uncertain, tuple(policy)),
        ("blank", blank, ("negative", "ignore")),
    ):
        if value not in allowed:
            raise ValueError(f"{flag}={value!r}: choose one of {', '.join(allowed)}")
    labels = np.asarray(labels, dtype=np.float32)
    out = np.where(np.isnan(labels), np.float32(policy[blank]), labels)
    return np.where(labels == UNCERTAIN, np.float32(policy[uncertain]), out)
