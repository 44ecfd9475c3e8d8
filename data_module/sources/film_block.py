"""What a worker does: it converts a block of films. Nothing heavy is imported here: workers start fast."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_module.film_files import is_whole
from data_module.film_types import FilmError, FilmWarning
from data_module.sources.films import FilmFormat, convert_film, resolve_inside


class Job(NamedTuple):
    """One film to convert: `source` under the folder `root`, to `target` under the pairs folder."""

    root: str
    source: str
    target: str


class BlockOutcome(NamedTuple):
    """What became of a block's films.

    Attributes:
        failed: number of a film -> why it could not be converted.
        notes: what was left out of films that were converted -> number of films.
    """

    failed: dict[int, str]
    notes: dict[str, int]


def convert_block(out: Path, film: FilmFormat, films: range, jobs: Sequence[Job]) -> BlockOutcome:
    """Convert films. One that is there already, whole, is kept."""
    failed, notes = {}, Counter[str]()
    for number, job in zip(films, jobs, strict=True):
        target = out / job.target
        if is_whole(target):
            continue
        source = None
        try:
            source = resolve_inside(Path(job.root), job.source)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", FilmWarning)
                convert_film(source, target, film)
            notes.update({str(note.message) for note in said if issubclass(note.category, FilmWarning)})
        except FilmError as error:
            # Without the path, which differs between machines; skipped.csv names the film.
            failed[number] = str(error).removeprefix(f"{source}: ")
    return BlockOutcome(failed, dict(notes))


def read_outcome(record: Mapping[str, Any] | None, films: range) -> BlockOutcome | None:
    """The outcome of a block from its record in the ledger; None where it is missing or damaged."""
    if record is None:
        return None
    try:
        failed = {int(number): str(why) for number, why in record["failed"].items()}
        notes = {str(note): int(count) for note, count in record["notes"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return BlockOutcome(failed, notes) if all(number in films for number in failed) else None
