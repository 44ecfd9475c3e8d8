"""What a worker does: it converts a block of films. Nothing heavy is imported here: workers start fast."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from data_module.decoding import FilmError
from data_module.sources.films import FilmFormat, convert_film, resolve_inside


class Job(NamedTuple):
    """One film to convert: `source` under the folder `root`, to `target` under the pairs folder."""

    root: str
    source: str
    target: str


def convert_block(out: Path, film: FilmFormat, films: range, jobs: Sequence[Job]) -> dict[int, int | str]:
    """Convert films; number -> bytes of the film, or why it failed. A whole film that is there is kept."""
    outcomes: dict[int, int | str] = {}
    for number, job in zip(films, jobs, strict=True):
        target = out / job.target
        try:
            if not _is_whole(target, film.size):
                convert_film(resolve_inside(Path(job.root), job.source), target, film)
            outcomes[number] = target.stat().st_size
        except FilmError as error:
            outcomes[number] = _shorten(str(error), job)
    return outcomes


def _is_whole(path: Path, size: int) -> bool:
    """Whether a converted film can be read to its end, after a kill, a power cut or a change of the input."""
    try:
        if not path.is_file():
            return False
        with Image.open(path) as film:
            film.load()
            return film.size == (size, size)
    except Exception:  # Pillow's decoders fail in all ways
        return False


def _shorten(reason: str, job: Job) -> str:
    """The reason without the film's path, which differs between machines; skipped.csv names the film."""
    for path in (str(Path(job.root, job.source).resolve()), job.source):
        reason = reason.removeprefix(f"{path}: ")
    return reason
