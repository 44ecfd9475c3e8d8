"""The latent cache: what frozen models make of the films and texts, once, as memory-mapped arrays.

    DIR/<key>/NAME.npy ...  complete.json

The key is a hash of the data's manifest, the models' files and the settings, so that a changed model or
table is encoded anew. No model is named here: arrays come in from a callable, memory maps go out.

Several processes (`accelerate launch`, `torchrun`) write one cache together: chunk c is process c mod n's.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from runtime.files import write_atomic

_POLL_S = 0.2
_FREE_MARGIN = 64 * 2**20  # bytes left free on the disk
Encode = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def cache_key(manifest_hash: str, models: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Name of a cache: `models` is role -> model_hash, `settings` whatever else decides the content."""
    facts = {"manifest": manifest_hash, "models": dict(models), "settings": dict(settings)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def find_distinct_texts(*columns: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Distinct texts as they appear, and index (N, F) int32: field f of row n is texts[index[n, f]]."""
    places: dict[str, int] = {}
    rows = zip(*columns, strict=True)
    index = np.array([[places.setdefault(text, len(places)) for text in row] for row in rows], dtype=np.int32)
    return list(places), index.reshape(-1, len(columns))


class LatentCache(Mapping[str, np.ndarray]):
    """A finished cache: name -> read-only memory map."""

    def __init__(self, folder: Path) -> None:
        names = json.loads((folder / "complete.json").read_text())["arrays"]
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
        """Whether the cache is there and finished."""
        return (Path(directory) / key / "complete.json").is_file()

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


class CacheWriter:
    """Writes a cache chunk by chunk; a killed writer goes on where it stopped when run again.

    Use as `with CacheWriter(directory, key).lock() as writer: writer.fill(...); cache = writer.finish()`.

    Args:
        shard: (i, n), this process's place among those that write the cache; None takes the launcher's word
            for it (RANK and WORLD_SIZE in the environment), and is (0, 1) without a launcher.
    """

    def __init__(self, directory: str | Path, key: str, shard: tuple[int, int] | None = None) -> None:
        self.final = Path(directory) / key
        self.partial = Path(directory) / f"{key}.partial"
        launched = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.index, self.num_shards = shard or launched
        self._num_chunks: dict[str, int] = {}  # of each step that this process has been through

    @contextmanager
    def lock(self) -> Iterator["CacheWriter"]:
        """Hold this shard for this process. Raises ValueError while another process writes it."""
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        # The system drops this lock when the process ends, however it ends.
        with self.partial.with_suffix(f".lock{self.index}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another process is writing the latent cache {self.final}") from None
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
        step = f"{name}/{chunk_size}"  # chunks of another size are other chunks
        chunks = range(-(-num_items // chunk_size))
        self._num_chunks[step] = len(chunks)
        mine = chunks[self.index :: self.num_shards]
        done = self._done(step)
        arrays: dict[str, np.ndarray] = {}
        missing = [chunk for chunk in mine if chunk not in done]
        with tqdm(total=len(mine), initial=len(mine) - len(missing), desc=f"encode {name}") as bar:
            for chunk in missing:
                items = np.arange(chunk * chunk_size, min((chunk + 1) * chunk_size, num_items))
                encoded = {key: _as_stored(value, key) for key, value in encode(items).items()}
                if not arrays:
                    arrays = self._open_arrays(encoded, num_items)
                for key, values in encoded.items():
                    arrays[key][items] = values
                    arrays[key].flush()
                # Recorded after the flush, so that a kill repeats a chunk and never skips one.
                self._record(step, chunk, list(encoded))
                bar.update()

    def put(self, name: str, array: np.ndarray) -> None:
        """Store one small array whole, as it is (such as an index)."""
        if self.index == 0:
            self.partial.mkdir(parents=True, exist_ok=True)
            np.save(self.partial / f"{name}.npy", array, allow_pickle=False)
            self._record(f"put {name}", 0, [name])

    def finish(self) -> LatentCache:
        """Mark the cache finished and open it, once the other shards have done their part."""
        complete = self.final / "complete.json"
        if self.index == 0:
            self._wait(lambda: all(len(self._done(step)) == n for step, n in self._num_chunks.items()))
            arrays = sorted({name for record in self._records() for name in record["arrays"]})
            write_atomic(self.partial / "complete.json", json.dumps({"arrays": arrays}, indent=2))
            for path in self.partial.glob("progress*.json"):
                path.unlink()
            if self.final.exists():  # left without its complete.json by something else than this class
                shutil.rmtree(self.final)
            self.partial.rename(self.final)
        else:
            self._wait(complete.is_file)
        return LatentCache(self.final)

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Wait for the other shards. Through files, so that no process group is needed."""
        while not ready():
            time.sleep(_POLL_S)

    def _open_arrays(self, chunk: Mapping[str, np.ndarray], num_items: int) -> dict[str, np.ndarray]:
        """Memory maps of the arrays; the first shard that comes here makes their files."""
        paths = {name: self.partial / f"{name}.npy" for name in chunk}
        self.partial.mkdir(parents=True, exist_ok=True)
        with self.partial.with_suffix(".create").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            missing = {name: chunk[name] for name, path in paths.items() if not path.is_file()}
            if missing:
                self._create_arrays(missing, num_items)
        return {name: open_memmap(path, mode="r+") for name, path in paths.items()}

    def _create_arrays(self, chunk: Mapping[str, np.ndarray], num_items: int) -> None:
        shapes = {name: (num_items, *values.shape[1:]) for name, values in chunk.items()}
        size = sum(int(np.prod(shapes[name])) * values.itemsize for name, values in chunk.items())
        free = shutil.disk_usage(self.partial).free
        print(
            f"latent cache {self.final}: {', '.join(chunk)}: {size / 1e9:.3f} GB ({free / 1e9:.0f} GB free)",
            file=sys.stderr,  # generate_reports.py --image writes its report, and that alone, to stdout
        )
        if size + _FREE_MARGIN > free:
            raise ValueError(
                f"the latent cache needs {size / 1e9:.2f} GB in {self.partial}, free: {free / 1e9:.2f} GB"
            )
        for name, values in chunk.items():
            temporary = self.partial / f".{name}.npy"
            open_memmap(temporary, mode="w+", dtype=values.dtype, shape=shapes[name]).flush()
            temporary.rename(self.partial / f"{name}.npy")

    def _records(self) -> list[dict[str, Any]]:
        """Progress of all shards, also those of an earlier run on another number of processes."""
        paths = sorted(self.partial.glob("progress*.json"))
        return [json.loads(path.read_text()) for path in paths]

    def _done(self, step: str) -> set[int]:
        return {chunk for record in self._records() for chunk in record["done"].get(step, ())}

    def _record(self, step: str, chunk: int, arrays: Sequence[str]) -> None:
        path = self.partial / f"progress{self.index}.json"
        record = json.loads(path.read_text()) if path.is_file() else {"done": {}, "arrays": []}
        record["done"].setdefault(step, []).append(chunk)
        record["arrays"] = sorted({*record["arrays"], *arrays})
        write_atomic(path, json.dumps(record))


def _as_stored(values: np.ndarray, name: str) -> np.ndarray:
    if not np.issubdtype(values.dtype, np.floating):
        return values
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16)
    if not np.isfinite(stored).all():
        raise ValueError(f"latent cache: {name} holds values that are not finite in float16")
    return stored
