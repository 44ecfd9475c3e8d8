"""Film scores on disk, keyed by the classifier's weights and the films' bytes."""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_module.pairs import write_atomic
from evaluation.classifier import FilmClassifier, FilmScores


def hash_films(paths: Sequence[Path | None]) -> str:
    """Short hash of the films' names and bytes, in order. A missing film counts as such."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"\0{path.name if path else ''}\0".encode())
        if path and path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def score_cached(
    classifier: FilmClassifier,
    paths: Sequence[Path | None],
    cache_dir: Path | None,
    batch_size: int = 64,
    progress: str = "",
) -> FilmScores:
    """`classifier.score_folder(paths)`, read from `cache_dir` when the same films were scored before.

    Raises:
        ValueError: no film can be read.
    """
    if cache_dir is None:
        return classifier.score_folder(paths, batch_size, progress=progress)
    file = Path(cache_dir) / f"{classifier.identity}-{hash_films(paths)}.npz"
    cached = _read(file, len(paths))
    if cached is None:
        cached = classifier.score_folder(paths, batch_size, progress=progress)
        stream = io.BytesIO()
        failures = json.dumps({str(row): reason for row, reason in cached.failures.items()})
        np.savez(
            stream, probabilities=cached.probabilities, features=cached.features, failures=np.array(failures)
        )
        write_atomic(file, stream.getvalue())
    return cached


def _read(file: Path, num_films: int) -> FilmScores | None:
    """None where there is no whole file: it is then made again."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            failures = {int(row): reason for row, reason in json.loads(str(saved["failures"])).items()}
            scores = FilmScores(saved["probabilities"], saved["features"], failures)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return scores if len(scores.probabilities) == num_films else None
