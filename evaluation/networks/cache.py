"""Film scores on disk, keyed by the network's weights, the preprocessing and the films' bytes.

Films are scored and kept in blocks: what was finished before an interruption is not computed again.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.networks.classifier import FilmClassifier, FilmScores
from runtime.files import write_atomic

BLOCK = 4096  # films of one file


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
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    parts = []
    for number, block in enumerate(blocks, start=1):
        name = f"{progress} {number}/{len(blocks)}" if progress and len(blocks) > 1 else progress
        parts.append(_score_block(classifier, block, cache_dir, batch_size, name))
    return _join(parts).require_readable()


def _score_block(
    classifier: FilmClassifier,
    paths: Sequence[Path | None],
    cache_dir: Path | None,
    batch_size: int,
    name: str,
) -> FilmScores:
    if cache_dir is None:
        return classifier.score_folder(paths, batch_size, progress=name)
    file = Path(cache_dir) / f"{classifier.identity}-{hash_films(paths)}.npz"
    cached = _read(file, len(paths))
    if cached is None:
        cached = classifier.score_folder(paths, batch_size, progress=name)
        stream = io.BytesIO()
        failures = json.dumps({str(row): reason for row, reason in cached.failures.items()})
        np.savez(
            stream, probabilities=cached.probabilities, features=cached.features, failures=np.array(failures)
        )
        write_atomic(file, stream.getvalue())
    return cached


def _join(parts: Sequence[FilmScores]) -> FilmScores:
    if len(parts) == 1:
        return parts[0]
    num_features = max((part.features.shape[1] for part in parts), default=0)
    features = np.full((sum(len(part.features) for part in parts), num_features), np.nan, np.float32)
    failures, start = {}, 0
    for part in parts:
        if part.features.shape[1]:  # a block of unreadable films has none
            features[start : start + len(part.features)] = part.features
        failures |= {start + row: reason for row, reason in part.failures.items()}
        start += len(part.features)
    probabilities = [part.probabilities for part in parts]
    return FilmScores(np.concatenate(probabilities) if parts else np.empty((0, 14)), features, failures)


def _read(file: Path, num_films: int) -> FilmScores | None:
    """None where there is no whole file: it is then made again."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            failures = {int(row): reason for row, reason in json.loads(str(saved["failures"])).items()}
            scores = FilmScores(saved["probabilities"], saved["features"], failures)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return scores if len(scores.probabilities) == num_films else None
