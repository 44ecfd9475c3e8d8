"""The latent cache: what frozen models make of the films and texts, once, as memory-mapped arrays.

    DIR/<key>/NAME.npy ...  complete.json

The key is a hash of the data's manifest, the models' files and the settings, so that a changed model or
table is encoded anew. No model is named here: arrays come in from a callable, memory maps go out.

Several processes (`accelerate launch`, `torchrun`) write one cache together: chunk c is process c mod n's.
"""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from runtime.files import (
    file_hash,
    naming,
    publish_folder,
    read_json,
    reading,
    remove_leftovers,
    show_bytes,
    write_atomic,
)
from runtime.ledger import BlockLedger
from runtime.locks import Claim
from runtime.sealed import seal, unseal
from runtime.shards import spread_shard, wait_for_others

COMPLETE = "complete.json"  # there in a finished cache: its arrays, with their sizes and hashes
_LEDGER = "done-"  # begins the folders' names of finished chunks
_HASHED = 256 * 2**20  # bytes of an array's file up to which its content is checked at each opening
_FREE_MARGIN = 64 * 2**20  # bytes left free on the disk
Encode = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def cache_key(manifest_hash: str, models: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Name of a cache: `models` is role -> model_hash, `settings` whatever else decides the content."""
    facts = {"manifest": manifest_hash, "models": dict(models), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def find_distinct_texts(*columns: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Distinct texts, the shortest first, and index (N, F) int32: field f of row n is texts[index[n, f]].

    Texts of about one length lie together, so that a batch of them has little padding.
    """
    texts = sorted(set().union(*columns), key=lambda text: (len(text), text))
    places = {text: place for place, text in enumerate(texts)}
    index = np.array([[places[text] for text in row] for row in zip(*columns, strict=True)], dtype=np.int32)
    return texts, index.reshape(-1, len(columns))


class LatentCache(Mapping[str, np.ndarray]):
    """A finished cache: name -> read-only memory map."""

    def __init__(self, folder: Path) -> None:
        names = read_json(folder / COMPLETE)["arrays"]
        self.folder = folder
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}

    @classmethod
    def open(cls, directory: str | Path, key: str) -> "LatentCache":
        """Open a finished cache. Raises ValueError where there is none."""
        if not cls.exists(directory, key):
            raise ValueError(f"{directory} holds no finished latent cache {key}")
        return cls(Path(directory) / key)

    @staticmethod
    def exists(directory: str | Path, key: str) -> bool:
        """Whether the cache is there, finished and whole; a damaged one is to be written anew."""
        folder = Path(directory) / key
        if not (folder / COMPLETE).is_file():
            return False
        damage = _find_damage(folder)
        if damage:
            print(f"latent cache {folder}: {damage}: it is made anew", file=sys.stderr)
        return not damage

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise ValueError(f"{self.folder} has no array {name!r}; it has {', '.join(self._arrays)}")
        return self._arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def open_or_write(directory: str | Path, key: str, write: "Callable[[CacheWriter], object]") -> LatentCache:
    """The finished cache, which `write` fills where there is none yet.

    Two runs may ask for one cache at the same moment, as trainings beside each other do: one writes it, and
    the other waits and has it too.
    """
    writer, found = CacheWriter(directory, key), LatentCache.exists(directory, key)
    if not found or writer.claim.lock.exists():  # by a run that is at work, or was killed at its very end
        before = _stamp(writer.final)
        with writer.lock():
            if not found and _stamp(writer.final) == before:
                write(writer)
                writer.finish()
    return LatentCache.open(directory, key)


def _stamp(folder: Path) -> tuple[int, int] | None:
    """When a cache was finished, None for one that is not."""
    try:
        found = (folder / COMPLETE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


class CacheWriter:
    """Writes a cache chunk by chunk; a killed writer goes on where it stopped when run again.

    Use it through `open_or_write`.

    Args:
        shard: (i, n), this process's place among those that write the cache; None takes the launcher's word
            for it (RANK and WORLD_SIZE in the environment), and is (0, 1) without a launcher.
    """

    def __init__(self, directory: str | Path, key: str, shard: tuple[int, int] | None = None) -> None:
        self.final = Path(directory) / key
        self.partial = Path(directory) / f"{key}.partial"
        self.shard = shard or spread_shard("0/1")
        self.claim = Claim(self.final, self.shard, "the latent cache", of_file=True, waits=True)
        self._num_chunks: dict[BlockLedger, int] = {}  # of each step that this process has been through
        self._arrays: set[str] = set()

    @contextmanager
    def lock(self) -> Iterator["CacheWriter"]:
        """Hold this shard for this process, once no other run writes it."""
        with self.claim:
            yield self

    def fill(self, name: str, num_items: int, encode: Encode, chunk_size: int) -> None:
        """Encode this shard's chunks of items 0..num_items-1 into arrays of `num_items` rows.

        Args:
            name: of this step, for the progress bar and for resuming.
            encode: item indices (n,) -> {array name: (n, ...)}. Floats are stored as float16.
            chunk_size: items per call of `encode`; what a kill can lose.

        Raises:
            ValueError: too little disk space, values that float16 cannot hold, wrong shapes.
        """
        # Chunks of another size are other chunks.
        ledger = BlockLedger(self.partial / f"{_LEDGER}{name}-{chunk_size}", self.shard)
        num_chunks = self._num_chunks[ledger] = -(-num_items // chunk_size)
        mine = ledger.mine(num_chunks)
        chunks = {c: np.arange(c * chunk_size, min((c + 1) * chunk_size, num_items)) for c in mine}
        missing = [chunk for chunk, items in chunks.items() if not self._is_done(ledger, chunk, items)]
        arrays: dict[str, np.memmap] = {}
        with tqdm(total=len(mine), initial=len(mine) - len(missing), desc=f"encode {name}") as bar:
            for chunk in missing:
                items = chunks[chunk]
                encoded = {key: _as_stored(value, key) for key, value in encode(items).items()}
                if not arrays:
                    arrays = self._open_arrays(encoded, num_items)
                for key, values in encoded.items():
                    arrays[key][items] = values
                    arrays[key].flush()
                # Recorded after the flush, so that a kill repeats a chunk and never skips one.
                ledger.write(chunk, {"arrays": {key: _hash_rows(rows) for key, rows in encoded.items()}})
                bar.update()

    def _is_done(self, ledger: BlockLedger, chunk: int, items: np.ndarray) -> bool:
        """Whether a killed run wrote this chunk, and its rows are still what it wrote."""
        known = _hashes(ledger.read(chunk))
        try:
            return bool(known) and all(
                _hash_rows(_open_whole(self.partial / f"{name}.npy")[items]) == found
                for name, found in known.items()
            )
        except (OSError, ValueError, IndexError):
            return False

    def put(self, name: str, array: np.ndarray) -> None:
        """Store one small array whole, as it is (such as an index)."""
        self._arrays.add(name)
        if self.shard[0] == 0:
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=False)
            write_atomic(self.partial / f"{name}.npy", stream.getvalue())

    def finish(self) -> LatentCache:
        """Mark the cache finished and open it, once the other shards have done their part."""
        if self.shard[0] == 0:
            every = self._num_chunks.items()
            wait_for_others(lambda: all(ledger.num_done() == n for ledger, n in every), self._what)
            for ledger, num_chunks in self._num_chunks.items():
                for chunk in range(num_chunks):
                    self._arrays |= _hashes(ledger.read(chunk)).keys()
            for folder in self.partial.glob(f"{_LEDGER}*"):
                shutil.rmtree(folder)
            remove_leftovers(self.partial)
            record = {name: _describe(self.partial / f"{name}.npy") for name in sorted(self._arrays)}
            write_atomic(self.partial / COMPLETE, json.dumps(seal({"arrays": record}), indent=2))
            publish_folder(self.partial, self.final)
        else:
            wait_for_others((self.final / COMPLETE).is_file, self._what)
        return LatentCache(self.final)

    @property
    def _what(self) -> str:
        return f"latent cache {self.final}"

    def _open_arrays(self, chunk: Mapping[str, np.ndarray], num_items: int) -> dict[str, np.memmap]:
        """Memory maps of the arrays; the first shard that comes here makes their files."""
        paths = {name: self.partial / f"{name}.npy" for name in chunk}
        self.partial.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            if path.exists() and not _has_shape(path, (num_items, *chunk[name].shape[1:])):
                path.unlink()  # damaged: all its rows are written anew
        if missing := {name: chunk[name] for name, path in paths.items() if not path.is_file()}:
            self._create_arrays(missing, num_items)
        return {name: open_memmap(path, mode="r+") for name, path in paths.items()}

    def _create_arrays(self, chunk: Mapping[str, np.ndarray], num_items: int) -> None:
        shapes = {name: (num_items, *values.shape[1:]) for name, values in chunk.items()}
        size = sum(int(np.prod(shapes[name])) * values.itemsize for name, values in chunk.items())
        free = shutil.disk_usage(self.partial).free
        print(
            f"latent cache {self.final}: {', '.join(chunk)}: {show_bytes(size)} ({show_bytes(free)} free)",
            file=sys.stderr,  # generate_reports.py --image writes its report, and that alone, to stdout
        )
        if size + _FREE_MARGIN > free:
            sizes = f"{show_bytes(size + _FREE_MARGIN)} in {self.partial}, free: {show_bytes(free)}"
            raise ValueError(f"the latent cache needs {sizes}")
        for name, values in chunk.items():
            path = self.partial / f"{name}.npy"
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with naming(path):
                open_memmap(temporary, mode="w+", dtype=values.dtype, shape=shapes[name]).flush()
                with suppress(FileExistsError):  # another shard's: a link, unlike a rename, replaces nothing
                    os.link(temporary, path)
                temporary.unlink()


def _hashes(record: Mapping[str, Any] | None) -> dict[str, str]:
    """Array name -> hash of its rows, of the record of a chunk; {} where it is damaged, or there is none."""
    arrays = (record or {}).get("arrays")
    if not isinstance(arrays, dict) or not all(isinstance(value, str) for value in arrays.values()):
        return {}
    return arrays


def _hash_rows(rows: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=8).hexdigest()


def _open_whole(path: Path) -> np.ndarray:
    """A memory map of an array's file. Raises OSError or ValueError for what is none."""
    if not (path.is_file() and path.stat().st_size):  # a pipe would be waited for, for ever
        raise ValueError(f"{path}: no such file, or an empty one")
    with reading(path):  # of a damaged header NumPy's parser raises what it likes
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _has_shape(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        return _open_whole(path).shape == shape
    except (OSError, ValueError):
        return False


def _describe(path: Path) -> dict[str, Any]:
    """What tells a whole array's file from a damaged one."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    size = path.stat().st_size
    return {"num_bytes": size, "hash": file_hash(path)[:16] if size <= _HASHED else ""}


def _find_damage(folder: Path) -> str:
    """What is wrong with a finished cache, or ""."""
    try:
        record = unseal(read_json(folder / COMPLETE))
        if record is None:
            return f"{COMPLETE} is damaged"
        for name, known in record["arrays"].items():
            if _describe(folder / f"{name}.npy") != known:
                return f"{name}.npy is damaged"
            _open_whole(folder / f"{name}.npy")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__})"
    return ""


def _as_stored(values: np.ndarray, name: str) -> np.ndarray:
    if not np.issubdtype(values.dtype, np.floating):
        return values
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16)
    if not np.isfinite(stored).all():
        raise ValueError(f"latent cache: {name} holds values that are not finite in float16")
    return stored
