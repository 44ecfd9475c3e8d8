"""What a worker does: it converts a block of films. Nothing heavy is imported here: workers start fast."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_module.film_types import FilmError
from data_module.sources.films import FilmFormat, convert_film, resolve_inside


class Job(NamedTuple):
    """One film to convert: `source` under the folder `root`, to `target` under the pairs folder."""

    root: str
    source: str
    target: str


def convert_block(out: Path, film: FilmFormat, films: range, jobs: Sequence[Job]) -> dict[int, str]:
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
