"""Many films -> the images of a pairs folder: in processes, in shards, and on from where a killed run was.

The films lie on a fixed grid of blocks. A finished block is noted in `.parts/` (`runtime.ledger`), after its
films are on the disk, with what of it failed and why. Which process or machine made a block shows nowhere,
so the folder is the same for any number of workers, shards and restarts.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data_module.sources.config import OutputConfig
from data_module.sources.film_block import Job, convert_block
from data_module.sources.films import FilmFormat, estimate_bytes
from data_module.sources.output import PARTS, remove_rests
from runtime.files import is_size, show_bytes
from runtime.ledger import BlockLedger
from runtime.shards import parse_shard
from runtime.workers import run_in_workers

BLOCK = 64  # films; what a kill can lose, and what a worker takes at a time


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
    shard: tuple[int, int] = (0, 1)

    def run(self, num_workers: int) -> None:
        """Convert the blocks of this shard that are not finished yet.

        Raises:
            ValueError: too little disk space, or a worker process died.
        """
        mine = self.ledger.mine(self._num_blocks)
        missing = [block for block in mine if not self._is_whole(block)]
        total = sum(len(self._films(block)) for block in mine)
        to_do = sum(len(self._films(block)) for block in missing)
        self._check_disk(to_do)
        # Without smoothing the estimate is of the whole run so far, not of the last few blocks.
        with tqdm(total=total, initial=total - to_do, desc="films", unit="film", smoothing=0) as bar:
            work = partial(convert_block, self.out, self.film)
            tasks = ((self._films(block), self.jobs(self._films(block))) for block in missing)
            with closing(run_in_workers(work, tasks, min(num_workers, len(missing)))) as results:
                for number, outcomes in results:
                    self.ledger.write(missing[number], {str(film): what for film, what in outcomes.items()})
                    bar.update(len(self._films(missing[number])))

    def _check_disk(self, num_films: int) -> None:
        needed = estimate_bytes(num_films, self.film)
        free = shutil.disk_usage(next(path for path in (self.out, *self.out.parents) if path.is_dir())).free
        if needed > free:
            sizes = f"about {show_bytes(needed)}, free: {show_bytes(free)}"
            raise ValueError(f"--out {self.out}: {num_films:,} films need {sizes}")

    def check_plan(self) -> None:
        """Forget what an earlier run left of other films, where the input has changed since: outcomes, and
        films that are no longer asked for."""
        digest = hashlib.sha256()
        for job in self._all_jobs():
            digest.update(f"{job.source}\0{job.target}\n".encode())
        plan = {"films": digest.hexdigest()}
        if self.ledger.read_identity() == plan:
            return
        targets = {job.target for job in self._all_jobs()}
        for film in (self.out / "images").rglob("*.*"):
            if film.is_file() and film.relative_to(self.out).as_posix() not in targets:
                film.unlink()
        self.ledger.forget()
        self.ledger.begin(plan)

    def _all_jobs(self) -> Iterator[Job]:
        for block in range(self._num_blocks):
            yield from self.jobs(self._films(block))

    def num_missing(self) -> int:
        """Films in blocks that no shard has finished."""
        return sum(len(self._films(block)) for block in self.ledger.missing(range(self._num_blocks)))

    def failures(self) -> dict[int, str]:
        """Number of a film -> why it could not be converted, of all blocks."""
        records = (self.ledger.read(block) or {} for block in range(self._num_blocks))
        entries = (entry for record in records for entry in record.items())
        return {int(film): what for film, what in entries if isinstance(what, str)}

    def _is_whole(self, block: int) -> bool:
        """Whether a block was done and all its films are there in their size."""
        record = self.ledger.read(block)
        if record is None or len(record) != len(self._films(block)):
            return False
        jobs = zip(self._films(block), self.jobs(self._films(block)), strict=True)
        sizes = ((record.get(str(film)), self.out / job.target) for film, job in jobs)
        return all(isinstance(size, str) or is_size(path, size) for size, path in sizes)

    @property
    def _num_blocks(self) -> int:
        return -(-self.num_films // BLOCK)

    def _films(self, block: int) -> range:
        return range(block * BLOCK, min((block + 1) * BLOCK, self.num_films))

    @property
    def ledger(self) -> BlockLedger:
        """The finished blocks: number of a film -> its size in bytes, or why it failed."""
        return BlockLedger(self.out / PARTS, self.shard)


def convert_films(
    config: OutputConfig, jobs: Callable[[range], Sequence[Job]], num_films: int
) -> dict[int, str] | None:
    """Convert this run's shard of the films.

    Returns:
        Film number -> why it could not be converted, or None while blocks of other shards are missing.
    """
    shard = parse_shard(config.shard)
    conversion = FilmConversion(config.out, config.film_format, jobs, num_films, shard)
    conversion.check_plan()
    conversion.run(config.num_workers)
    missing = conversion.num_missing()
    if missing:
        print(
            f"{config.out}: shard {config.shard} is done, {missing:,} films are left to the others; the last "
            "one to finish in a shared folder closes it, and `prepare_data.py merge` joins separate folders"
        )
        return None
    remove_rests(config.out)
    return conversion.failures()
