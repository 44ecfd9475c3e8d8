"""Many films -> the images of a pairs folder: in processes, in shards, and on from where a killed run was.

The films lie on a fixed grid of blocks. A finished block is noted in `.parts/` (`runtime.ledger`), after its
films are written, with what of it failed and why. Which process or machine made a block shows nowhere, so the
folder is the same for any number of workers, shards and restarts. A block that an earlier run finished counts
if its record can be read and its films are still there, whole.
"""

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data_module.film_files import find_whole
from data_module.sources.config import OutputConfig
from data_module.sources.film_block import BlockOutcome, Job, convert_block, read_outcome
from data_module.sources.films import FilmFormat, estimate_bytes
from data_module.sources.output import PARTS, remove_rests
from runtime.files import show_bytes
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
    _checked: dict[int, BlockOutcome] = field(default_factory=dict, init=False, repr=False)

    def run(self, num_workers: int) -> None:
        """Convert the blocks of this shard that are not finished yet.

        Raises:
            ValueError: too little disk space, or a worker process died.
        """
        mine = self.ledger.mine(self._num_blocks)
        missing = self._find_missing(mine)
        total = sum(len(self._films(block)) for block in mine)
        to_do = sum(len(self._films(block)) for block in missing)
        self._check_disk(to_do)
        # Without smoothing the estimate is of the whole run so far, not of the last few blocks.
        with tqdm(total=total, initial=total - to_do, desc="films", unit="film", smoothing=0) as bar:
            work = partial(convert_block, self.out, self.film)
            tasks = ((self._films(block), self.jobs(self._films(block))) for block in missing)
            with closing(run_in_workers(work, tasks, min(num_workers, len(missing)))) as results:
                for number, outcome in results:
                    block = missing[number]
                    self.ledger.write(block, outcome._asdict())
                    self._checked[block] = outcome
                    bar.update(len(self._films(block)))

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
        # The films of other shards are read once all blocks are noted, not by every shard.
        blocks = self.ledger.missing(range(self._num_blocks)) or self._find_missing(range(self._num_blocks))
        return sum(len(self._films(block)) for block in blocks)

    def _find_missing(self, blocks: range) -> list[int]:
        with tqdm(blocks, "checking films", unit=f"x{BLOCK}", leave=False, delay=3) as bar:
            return [block for block in bar if self._outcome(block) is None]

    def failures(self) -> dict[int, str]:
        """Number of a film -> why it could not be converted, of all blocks, which are finished."""
        return {film: why for outcome in self._outcomes() for film, why in outcome.failed.items()}

    def count_notes(self) -> Counter[str]:
        """What was left out of films that were read -> number of films."""
        return sum((Counter(outcome.notes) for outcome in self._outcomes()), Counter())

    def _outcomes(self) -> Iterator[BlockOutcome]:
        for block in range(self._num_blocks):
            outcome = self._outcome(block)
            if outcome is None:
                raise ValueError(f"--out {self.out}: films went while it was made: the same command mends it")
            yield outcome

    def _outcome(self, block: int) -> BlockOutcome | None:
        """What became of a block; None where it is not finished, or something of it was lost since."""
        if block not in self._checked:
            outcome = read_outcome(self.ledger.read(block), self._films(block))
            if outcome is None:
                return None
            jobs = zip(self._films(block), self.jobs(self._films(block)), strict=True)
            targets = [self.out / job.target for number, job in jobs if number not in outcome.failed]
            if not all(find_whole(targets)):
                return None
            self._checked[block] = outcome
        return self._checked[block]

    @property
    def _num_blocks(self) -> int:
        return -(-self.num_films // BLOCK)

    def _films(self, block: int) -> range:
        return range(block * BLOCK, min((block + 1) * BLOCK, self.num_films))

    @property
    def ledger(self) -> BlockLedger:
        """The finished blocks, each with its `BlockOutcome`."""
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
    for note, count in sorted(conversion.count_notes().items()):
        print(f"{config.out}: {count:,} film(s) with {note}", file=sys.stderr)
    return conversion.failures()
