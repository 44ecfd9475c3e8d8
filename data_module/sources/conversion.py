"""Many films -> the images of a pairs folder: in processes, in shards, and on from where a killed run was.

The films lie on a fixed grid of blocks. A finished block leaves one small file in `.parts/`, after its films
are on the disk, which says what of it failed and why. Which process or machine made a block shows nowhere,
so the folder is the same for any number of workers, shards and restarts.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from data_module.decoding import FilmError
from data_module.files import write_atomic
from data_module.shards import parse_shard
from data_module.sources.films import FilmFormat, convert_film, estimate_bytes, resolve_inside
from data_module.sources.output import PARTS, OutputConfig, remove_rests

PLAN = "plan.txt"  # hash of the films that the blocks stand for
BLOCK = 64  # films; what a kill can lose, and what a worker takes at a time


class Job(NamedTuple):
    """One film to convert: `source` under the folder `root`, to `target` under the pairs folder."""

    root: str
    source: str
    target: str


@dataclass(frozen=True)
class FilmConversion:
    """The conversion of `num_films` films into the pairs folder `out`.

    Attributes:
        jobs: range of film numbers -> their jobs. Called for a block at a time, so that a list of all jobs
            need not be held in memory.
    """

    out: Path
    film: FilmFormat
    jobs: Callable[[range], Sequence[Job]]
    num_films: int

    def run(self, num_workers: int, shard: tuple[int, int] = (0, 1)) -> None:
        """Convert the blocks of this shard that are not finished yet.

        Raises:
            ValueError: too little disk space, or a worker process died.
        """
        mine = range(shard[0], self._num_blocks, shard[1])
        missing = [block for block in mine if not self._part(block).is_file()]
        total = sum(len(self._films(block)) for block in mine)
        to_do = sum(len(self._films(block)) for block in missing)
        self._check_disk(to_do)
        # Without smoothing the estimate is of the whole run so far, not of the last few blocks.
        with tqdm(total=total, initial=total - to_do, desc="films", unit="film", smoothing=0) as bar:
            for block, failed in self._convert(missing, num_workers):
                write_atomic(self._part(block), json.dumps(failed, sort_keys=True) + "\n")
                bar.update(len(self._films(block)))

    def _check_disk(self, num_films: int) -> None:
        needed = estimate_bytes(num_films, self.film) / 1e9
        free = (
            shutil.disk_usage(next(path for path in (self.out, *self.out.parents) if path.is_dir())).free
            / 1e9
        )
        if needed > free:
            raise ValueError(
                f"--out {self.out}: {num_films:,} films need about {needed:.1f} GB, free: {free:.1f} GB"
            )

    def check_plan(self) -> None:
        """Forget what an earlier run left of other films, where the input has changed since: outcomes, and
        films that are no longer asked for."""
        digest = hashlib.sha256()
        for job in self._all_jobs():
            digest.update(f"{job.source}\0{job.target}\n".encode())
        path = self.out / PARTS / PLAN
        if path.is_file() and path.read_text() == digest.hexdigest():
            return
        targets = {job.target for job in self._all_jobs()}
        for film in (self.out / "images").rglob("*.*"):
            if film.is_file() and film.relative_to(self.out).as_posix() not in targets:
                film.unlink()
        for part in path.parent.glob("films-*.json"):
            part.unlink(missing_ok=True)
        write_atomic(path, digest.hexdigest())

    def _all_jobs(self) -> Iterator[Job]:
        for block in range(self._num_blocks):
            yield from self.jobs(self._films(block))

    def num_missing(self) -> int:
        """Films in blocks that no shard has finished."""
        blocks = (block for block in range(self._num_blocks) if not self._part(block).is_file())
        return sum(len(self._films(block)) for block in blocks)

    def failures(self) -> dict[int, str]:
        """Number of a film -> why it could not be converted, of all blocks."""
        failed: dict[int, str] = {}
        for block in range(self._num_blocks):
            failed |= {int(place): why for place, why in json.loads(self._part(block).read_text()).items()}
        return failed

    @property
    def _num_blocks(self) -> int:
        return -(-self.num_films // BLOCK)

    def _films(self, block: int) -> range:
        return range(block * BLOCK, min((block + 1) * BLOCK, self.num_films))

    def _part(self, block: int) -> Path:
        return self.out / PARTS / f"films-{block:06d}.json"

    def _convert(self, blocks: Sequence[int], num_workers: int) -> Iterator[tuple[int, dict[int, str]]]:
        if num_workers <= 1 or len(blocks) <= 1:
            for block in blocks:
                films = self._films(block)
                yield block, _convert_block(self.out, self.film, films, self.jobs(films))
            return
        # Spawned, since a fork of a process that holds threads (torch) can hang.
        context = get_context("spawn")
        with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_end_with_parent) as pool:
            waiting, rest = {}, iter(blocks)
            try:
                while True:
                    while len(waiting) < 2 * num_workers and (block := next(rest, None)) is not None:
                        films = self._films(block)
                        future = pool.submit(_convert_block, self.out, self.film, films, self.jobs(films))
                        waiting[future] = block
                    if not waiting:
                        return
                    done = next(as_completed(waiting))
                    yield waiting.pop(done), done.result()
            except BrokenProcessPool:
                raise ValueError(
                    "a worker process was killed (out of memory?); the same command goes on, "
                    f"perhaps with fewer than --num-workers {num_workers}"
                ) from None
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def convert_films(
    config: OutputConfig, jobs: Callable[[range], Sequence[Job]], num_films: int
) -> dict[int, str] | None:
    """Convert this run's shard of the films.

    Returns:
        Film number -> why it could not be converted, or None while blocks of other shards are missing.
    """
    shard = parse_shard(config.shard)
    conversion = FilmConversion(config.out, config.film_format, jobs, num_films)
    conversion.check_plan()
    conversion.run(config.num_workers, shard)
    missing = conversion.num_missing()
    if missing:
        print(
            f"{config.out}: shard {config.shard} is done, {missing:,} films are left to the others; the last "
            "one to finish in a shared folder closes it, and `prepare_data.py merge` joins separate folders"
        )
        return None
    remove_rests(config.out, alone=shard == (0, 1))
    return conversion.failures()


def _convert_block(out: Path, film: FilmFormat, films: range, jobs: Sequence[Job]) -> dict[int, str]:
    """Convert films; number -> reason of those that failed. A film that is there already is kept: targets
    are written whole or not at all."""
    failed = {}
    for number, job in zip(films, jobs, strict=True):
        target = out / job.target
        if target.is_file():
            continue
        try:
            convert_film(resolve_inside(Path(job.root), job.source), target, film)
        except FilmError as error:
            failed[number] = _shorten(str(error), job)
    return failed


def _shorten(reason: str, job: Job) -> str:
    """The reason without the film's path, which differs between machines; skipped.csv names the film."""
    for path in (str(Path(job.root, job.source).resolve()), job.source):
        reason = reason.removeprefix(f"{path}: ")
    return reason


def _end_with_parent() -> None:
    """Let a worker end when the run is killed; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
