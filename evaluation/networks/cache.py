"""Film scores on disk, keyed by the network's weights, the preprocessing and the films' bytes.

Films are scored and kept in blocks: what was finished before an interruption is not computed again. Of the
processes of a launch each scores its share of the blocks, and reads those of the others once they are there.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.metric import needed
from evaluation.networks.classifier import FilmClassifier, FilmScores
from runtime.files import write_atomic
from runtime.shards import spread_shard, wait_for_others

BLOCK = 512  # films of one file


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

    All processes of a launch must ask for the same films, in the same order of calls.

    Raises:
        ValueError: no film can be read.
    """
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    index, count = (0, 1) if cache_dir is None else spread_shard("0/1")
    parts: dict[int, FilmScores] = {}
    for number in range(index, len(blocks), count):
        name = f"{progress} {number + 1}/{len(blocks)}" if progress and len(blocks) > 1 else progress
        parts[number] = _score_block(classifier, blocks[number], cache_dir, batch_size, name)
    for number, block in enumerate(blocks):
        if number not in parts and cache_dir is not None:
            parts[number] = _wait_for(_file_of(classifier, block, cache_dir), len(block))
    return _join([parts[number] for number in range(len(blocks))]).require_readable()


def _wait_for(file: Path, num_films: int) -> FilmScores:
    """The scores of a block that is another process's."""
    return needed(wait_for_others(lambda: _read(file, num_films), f"scores of films in {file.parent}"))


def _file_of(classifier: FilmClassifier, paths: Sequence[Path | None], cache_dir: Path) -> Path:
    return Path(cache_dir) / f"{classifier.identity}-{hash_films(paths)}.npz"


def _score_block(
    classifier: FilmClassifier,
    paths: Sequence[Path | None],
    cache_dir: Path | None,
    batch_size: int,
    name: str,
) -> FilmScores:
    if cache_dir is None:
        return classifier.score_folder(paths, batch_size, progress=name)
    file = _file_of(classifier, paths, cache_dir)
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
    return FilmScores(np.concatenate(probabilities) if parts else np.empty((0, 0)), features, failures)


def _read(file: Path, num_films: int) -> FilmScores | None:
    """None where there is no whole file: it is then made again."""
    arrays = read_arrays(file, ("probabilities", "features", "failures"))
    if arrays is None or len(arrays["probabilities"]) != num_films:
        return None
    failures = {int(row): reason for row, reason in json.loads(str(arrays["failures"])).items()}
    return FilmScores(arrays["probabilities"], arrays["features"], failures)


def read_arrays(file: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The named arrays of an .npz file, which has checksums; None where it is missing or damaged."""
    if not file.is_file():  # a pipe would be waited for, for ever
        return None
    try:
        with np.load(file, allow_pickle=False) as saved:
            return {name: saved[name] for name in names}
    except Exception:  # what is damaged makes zipfile, zlib and numpy fail in all ways
        return None
