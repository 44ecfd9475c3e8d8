"""One split by patient, for every module of the chain."""

import hashlib
import math
from collections.abc import Sequence

from data_module.pairs import SPLITS


def split_by_patient(
    patient_ids: Sequence[str], seed: int, fractions: Sequence[float] = (0.8, 0.1, 0.1)
) -> list[str]:
    """Split of each row: "train", "validation" or "test".

    A patient's split is a hash of (seed, patient id) alone, so all films of a patient share it, and rows
    that are added, removed or reordered later never move a patient from one split to another. The
    fractions therefore hold in expectation, not exactly.

    Args:
        patient_ids: one id a row, never empty.
        seed: another seed gives another, independent split.
        fractions: expected share of patients in train, validation and test; they sum to 1.

    Raises:
        ValueError: an empty patient id, or fractions that are not three shares of 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise ValueError(
            f"fractions {tuple(fractions)}: give three shares (train, validation, test) that sum to 1"
        )
    of_patient: dict[str, str] = {}
    for row, patient in enumerate(patient_ids):
        # None, NaN and "" would put strangers' films into one patient.
        if not isinstance(patient, str) or not patient.strip():
            raise ValueError(f"patient_id of row {row} is {patient!r}; every row needs one")
        if patient not in of_patient:
            of_patient[patient] = _split_of(patient, seed, fractions)
    return [of_patient[patient] for patient in patient_ids]


def _split_of(patient: str, seed: int, fractions: Sequence[float]) -> str:
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    place = int.from_bytes(digest[:7], "big") / 2.0**56  # uniform in [0, 1), exact in float64
    if place < fractions[0]:
        return SPLITS[0]
    return SPLITS[1] if place < fractions[0] + fractions[1] else SPLITS[2]
