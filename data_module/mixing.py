"""Training sets of real and synthetic films in any proportion: what are synthetic films good for?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_module.exact_table import open_exact
from data_module.findings import FINDINGS, POSITIVE
from data_module.pairs import PairsFolder, hash_folder, write_pairs
from runtime.files import link_or_copy, read_json
from runtime.origins import find_learned
from runtime.provenance import provenance_record

ALL = -1


def mix_folders(
    real: Path,
    synthetic: Path,
    out: Path,
    num_real: int = ALL,
    num_synthetic: int = ALL,
    only: Sequence[str] = (),
    seed: int = 0,
    repeat: int = 1,
    passed_only: bool = False,
) -> PairsFolder:
    """Write a pairs folder whose train rows are real and synthetic films, and whose other rows are real.

    Validation and test films are the real ones in every mix, so that nothing but the training films differs.
    Films are hard links where the file system allows it. A folder that was mixed just so is kept.

    Args:
        num_real, num_synthetic: random rows of each (ALL: every one), `num_real` of split train.
        only: synthetic films that are positive for one of these findings (to add what is rare).
        repeat: rows of each synthetic film.
        passed_only: leave out synthetic pairs that failed the tests of `--keep` and that `--keep-best` kept.

    Raises:
        ValueError: an unknown finding, no pair that passed, more rows asked for than there are, or an `out`
            of another mix.
    """
    unknown = sorted(set(only) - set(FINDINGS))
    if unknown:
        raise ValueError(f"--only {unknown[0]!r}: not one of {', '.join(FINDINGS)}")
    if repeat < 1:
        raise ValueError(f"--repeat {repeat}: must be at least 1")
    opened, made = PairsFolder.open(real), PairsFolder.open(synthetic)
    asked_for = {
        **{"real": hash_folder(opened), "synthetic": hash_folder(made), "only": list(only), "seed": seed},
        **{"num_real": num_real, "num_synthetic": num_synthetic},
        **({"repeat": repeat} if repeat != 1 else {}),
        **({"passed_only": True} if passed_only else {}),
    }
    if (out / "metadata.csv").exists():
        path = out / "provenance.json"
        if path.is_file() and read_json(path).get("config") == asked_for:
            return PairsFolder.open(out)
        raise ValueError(f"--out {out} is a pairs folder of something else: name another")
    opened, made = open_exact(real), open_exact(synthetic)  # a stranger's column 007 stays 007
    rng = np.random.default_rng(seed)
    asked = np.ones(len(made), bool)
    if only:
        asked = (made.labels[:, [FINDINGS.index(name) for name in only]] == POSITIVE).any(axis=1)
    if passed_only:
        asked &= _passed(made.table, synthetic)
    train = opened.table["split"] == "train"
    parts = [
        opened.table[~train],
        _draw(opened.table[train], num_real, rng, f"--num-real, of {real}"),
        _draw(made.table[asked], num_synthetic, rng, f"--num-synthetic, of {synthetic}").assign(
            split="train"
        ),
    ]
    rows = []
    copies = [("synthetic" if copy == 1 else f"synthetic_{copy}", made.root) for copy in range(1, repeat + 1)]
    for folder, root in (("real", opened.root), *copies):
        side, part = ("real", pd.concat(parts[:2])) if folder == "real" else ("synthetic", parts[2])
        # One patient of each side must not become one of both.
        part = part.assign(patient_id=side + "-" + part["patient_id"].astype(str))
        for old in part["file_name"]:
            link_or_copy(root / old, out / "images" / folder / old)
        rows.append(part.assign(file_name=f"images/{folder}/" + part["file_name"]))
    learned = sorted({*find_learned(real), *find_learned(synthetic)})
    record = {**provenance_record(asked_for), "learned_from": learned}
    counts = f"{len(parts[1])} real, {repeat * len(parts[2])} synthetic"
    card = f"# Mixed training films\n\n{counts}. Not for clinical use.\n"
    return write_pairs(out, pd.concat(rows, ignore_index=True), record, card)


def _passed(table: pd.DataFrame, folder: Path) -> np.ndarray:
    if "failed_tests" not in table:
        path = folder / "provenance.json"
        if not (path.is_file() and "kept" in read_json(path)):
            raise ValueError(f"--passed-only: {folder} was drawn without sample_pairs.py --keep")
        return np.ones(len(table), bool)  # nor with --keep-best: all passed
    passed = table["failed_tests"].fillna("").astype(str).str.strip().eq("").to_numpy()
    if not passed.any():
        raise ValueError(f"--passed-only: no pair of {folder} passed its tests")
    return passed


def _draw(table: pd.DataFrame, num: int, rng: np.random.Generator, flag: str) -> pd.DataFrame:
    order = rng.permutation(len(table))  # in any case: what is drawn after it must not depend on `num`
    if num == ALL:
        return table
    if not 0 <= num <= len(table):
        raise ValueError(f"{flag}: {num} asked for, {len(table)} there")
    return table.iloc[np.sort(order[:num])]
