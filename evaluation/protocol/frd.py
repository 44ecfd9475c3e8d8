"""FRD, the Frechet distance of radiomic features, by pyradiomics (Konz et al., Medical Image Analysis 2026).

pyradiomics' own package cannot be built on Python 3.10 and later; pyradiomics-bhklab is the same code with
another build. Some seconds a film; finished blocks of films stay in the cache.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from evaluation.images.fid import frechet_distance
from evaluation.networks.cache import hash_films
from evaluation.protocol.radiomic_features import Features, describe_film
from runtime.files import write_atomic
from runtime.threads import usable_cores
from runtime.workers import run_in_workers

BLOCK, SEED = 64, 42


def extract_radiomics(paths: Sequence[Path], cache_dir: Path, name: str) -> list[Features]:
    """Features of films, without those that have none."""
    found: list[Features] = []
    with tqdm(total=len(paths), desc=name, unit="film") as bar:
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            file = cache_dir / f"radiomics-{hash_films(block)}.json"
            rows: list[Features | None] = _read_rows(file, len(block))
            if rows:
                bar.update(len(block))
            else:
                rows = [None] * len(block)
                tasks = ((path,) for path in block)
                for place, row in run_in_workers(describe_film, tasks, usable_cores()):
                    rows[place] = row
                    bar.update()
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(file, json.dumps(rows))
            found += [row for row in rows if row is not None]
    return found


def _read_rows(file: Path, num: int) -> list[Features | None]:
    """Features of a block of the cache; none where it is not there, or is damaged."""
    try:
        rows: Any = json.loads(file.read_text()) if file.is_file() else None
    except (OSError, ValueError):
        return []
    if not isinstance(rows, list) or len(rows) != num:
        return []
    return rows if all(row is None or isinstance(row, dict) for row in rows) else []


def radiomic_distance(real: Sequence[Features], made: Sequence[Features], diagnostics: bool) -> float | None:
    """log of the Frechet distance, features in deviations of the real films' from their mean.

    Args:
        diagnostics: whether numbers that pyradiomics tells of films and masks besides (their mean, how many
            pixels ...) count as features, as they do in CheXGenBench's script.

    Returns:
        None for fewer than two films on a side, or a distance of 0.
    """
    if min(len(real), len(made)) < 2:
        return None
    names = sorted(set.intersection(*(set(row) for row in (*real, *made))))
    names = [name for name in names if diagnostics or not name.startswith("diagnostics")]
    sides = [np.array([[row[name] for name in names] for row in side]) for side in (real, made)]
    sides = [side[np.isfinite(side).all(axis=1)] for side in sides]
    least = min(map(len, sides))
    if least < 2:
        return None
    rng = np.random.RandomState(SEED)  # the script's: as many films on both sides
    sides = [side[rng.choice(len(side), least, False)] if len(side) > least else side for side in sides]
    mean, deviation = sides[0].mean(axis=0), sides[0].std(axis=0)
    kept = deviation > 0
    scaled = [(side[:, kept] - mean[kept]) / deviation[kept] for side in sides]
    distance = frechet_distance(scaled[1], scaled[0])
    return math.log(distance) if distance > 0 else None


def score_frd(real: Sequence[Path], made: Sequence[Path], cache_dir: Path) -> dict[bool, float | None]:
    """FRD without (False) and with (True) pyradiomics' diagnostics among the features.

    Raises:
        ValueError: pyradiomics is not there.
    """
    try:
        import radiomics  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("--frd: pip install pyradiomics-bhklab (the extra frd)") from None
    sides = [
        extract_radiomics(paths, cache_dir, f"radiomics, {name} films")
        for paths, name in ((real, "real"), (made, "synthetic"))
    ]
    return {diagnostics: radiomic_distance(sides[0], sides[1], diagnostics) for diagnostics in (False, True)}
