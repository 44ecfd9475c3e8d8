"""Real films to hold the real films of a split against: what a perfect generator reaches at the same n."""

import numpy as np
import pandas as pd

from data_module.pairs import SPLITS, PairsFolder


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


def describe_floor(others: PairsFolder | None, split: str) -> str:
    """Which real films `choose_floor` took, in words."""
    if others is None:
        return f"two halves of split {split}, by patient: the folder has too few other films"
    counts = others.table["split"].value_counts().to_dict()
    return f"other real films: {', '.join(f'{n} of split {name}' for name, n in counts.items())}"
