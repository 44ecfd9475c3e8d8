"""One split by patient, for every module of the chain, and folds of it for cross-validation."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from data_module.config import SHARES, FoldConfig, check_shares
from data_module.pairs import SPLITS, PairsFolder

TRAIN_OR_VALIDATION = "train or validation"  # what is not held out for the test
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), SPLITS[0]),
    **dict.fromkeys(("validation", "val", "valid", "validate", "dev"), SPLITS[1]),
    **dict.fromkeys(("test", "testing"), SPLITS[2]),
    **{"": "", TRAIN_OR_VALIDATION: TRAIN_OR_VALIDATION},
}


def split_by_patient(patient_ids: Sequence[str], seed: int, fractions: Sequence[float] = SHARES) -> list[str]:
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
    check_shares(fractions)
    of_patient: dict[str, str] = {}
    for row, patient in enumerate(patient_ids):
        # None, NaN and "" would put strangers' films into one patient.
        if not isinstance(patient, str) or not patient.strip():
            raise ValueError(f"patient_id of row {row} is {patient!r}; every row needs one")
        if patient not in of_patient:
            of_patient[patient] = _split_of(patient, seed, fractions)
    return [of_patient[patient] for patient in patient_ids]


def settle_splits(
    words: Sequence[str], patient_ids: Sequence[str], seed: int, fractions: Sequence[float], where: str
) -> list[str]:
    """Split of each row: what its word says, and for a row without one its patient's, or one by patient.

    Args:
        words: train, validation (val, valid, dev), test, "", or TRAIN_OR_VALIDATION, in any case.
        where: what messages call the words.

    Raises:
        ValueError: another word, or a patient whose rows say different splits.
    """
    unknown = {word for word in words if word.lower() not in SPLIT_WORDS}
    if unknown:
        raise ValueError(f"{where}: {len(unknown)} of its words are none of train, validation, test")
    said = [SPLIT_WORDS[word.lower()] for word in words]
    of_patient: dict[str, str] = {}
    torn = set()
    for patient, split in zip(patient_ids, said, strict=True):
        if split and of_patient.setdefault(patient, split) != split:
            torn.add(patient)
    if torn:
        raise ValueError(
            f"{where}: {len(torn)} patient(s) stand in several splits, so that a model would be tested on "
            "whom it was trained on; leave it out, and the rows are split by patient"
        )
    both = fractions[0] + fractions[1] or 1.0
    drawn = split_by_patient(patient_ids, seed, fractions)
    held = split_by_patient(patient_ids, seed, (fractions[0] / both, 1 - fractions[0] / both, 0.0))
    settled = (of_patient.get(patient, "") for patient in patient_ids)
    return [
        own if split == TRAIN_OR_VALIDATION else split or other
        for split, own, other in zip(settled, held, drawn, strict=True)
    ]


def split_by_fold(splits: Sequence[str], patient_ids: Sequence[str], config: FoldConfig) -> list[str]:
    """The split of each row within a fold; rows of the test split stay there.

    A patient's fold is a hash of the patient id alone, as the split is, so every row of a patient is in one
    fold, and rows that come or go move nobody. The folds are equal in expectation.

    Raises:
        ValueError: a fold without a row.
    """
    if not config.folds:
        return list(splits)
    folds = [int(_place_of(patient, "fold") * config.folds) for patient in patient_ids]
    names = [
        SPLITS[2] if split == SPLITS[2] else SPLITS[fold == config.fold]
        for split, fold in zip(splits, folds, strict=True)
    ]
    for name in SPLITS[:2]:
        if name not in names:
            raise ValueError(f"--folds {config.folds} --fold {config.fold}: no row is left in split {name!r}")
    return names


def fold_pairs(pairs: PairsFolder, config: FoldConfig) -> PairsFolder:
    """The pairs with the splits of a fold; the same object without folds."""
    if not config.folds:
        return pairs
    table = pairs.table
    splits = split_by_fold(table["split"].tolist(), table["patient_id"].tolist(), config)
    return dataclasses.replace(pairs, table=table.assign(split=splits))


def count_train_rows(folder: Path, folds: FoldConfig | None = None) -> int | None:
    """Rows of a pairs folder's train split, or of a fold's; None where the folder is not there (yet)."""
    try:
        pairs = PairsFolder.open(folder)
    except ValueError:
        return None
    return int((fold_pairs(pairs, folds or FoldConfig()).table["split"] == SPLITS[0]).sum())


def _place_of(patient: str, seed: int | str) -> float:
    """A patient's place, uniform in [0, 1)."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2.0**56  # exact in float64


def _split_of(patient: str, seed: int, fractions: Sequence[float]) -> str:
    place = _place_of(patient, seed)
    if place < fractions[0]:
        return SPLITS[0]
    return SPLITS[1] if place < fractions[0] + fractions[1] else SPLITS[2]
