"""One film of any source -> an 8-bit gray PNG or JPEG file of one size; names and sizes of such files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from data_module.decoding import read_resized
from data_module.film_files import SUFFIXES, write_film
from data_module.film_types import COLORS, WINDOWS, Decoding, FilmError
from data_module.gray import require_film
from data_module.resizing import RESIZERS

_MAX_PART = 200  # characters of a folder's or file's name; file systems take 255, and a rest of it is added
# load_dataset("imagefolder") takes files whose names hold one of these words for a split of their own.
_SPLIT_WORDS = re.compile(
    r"(?<![a-z])(train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class FilmFormat:
    """How films are read and written: `size` pixels a side, `resize` one of RESIZERS, `image_format` of
    SUFFIXES; `window`, `color` and `equalize` as in `Decoding`."""

    size: int
    resize: str
    image_format: str
    window: str = "voi"
    color: str = "convert"
    equalize: bool = False

    def __post_init__(self) -> None:
        if self.size < 8 or self.size > 4096:
            raise ValueError(f"--size {self.size}: give 8 to 4096 pixels")
        for flag, value, allowed in (
            ("--resize", self.resize, RESIZERS),
            ("--image-format", self.image_format, SUFFIXES),
            ("--window", self.window, WINDOWS),
            ("--color", self.color, COLORS),
        ):
            if value not in allowed:
                raise ValueError(f"{flag} {value}: choose one of {', '.join(allowed)}")


def resolve_inside(root: Path, name: str) -> Path:
    """The path of a table's file name under `root`.

    Raises:
        FilmError: it leads outside. The message leaves the name out, which may be a cell that is none.
    """
    try:
        path = root / name
        if "\\" in name and not path.exists():  # as Windows writes paths
            path = root / name.replace("\\", "/")
        path = path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL byte
        raise FilmError("is not a file name, or a loop of links") from None
    if not path.is_relative_to(root.resolve()):
        raise FilmError("lies outside the folder (where a link leads there, name the folder that holds it)")
    return path


def name_films(names: Sequence[str], image_format: str) -> list[str]:
    """File names in the pairs folder, "images/...": distinct, safe, and free of words that mean a split."""
    stems = []
    for name in names:
        stem = str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))
        clean = re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", stem) and ".." not in stem
        short = all(len(part) <= _MAX_PART for part in stem.split("/"))
        stems.append(stem if clean and short and not _SPLIT_WORDS.search(stem) else _hash_name(name))
    first = {}
    for place, stem in enumerate(stems):
        if first.setdefault(stem.lower(), place) != place:  # a.png and a.jpg, or A.png on some file systems
            stems[place] = _hash_name(names[place])
    return [f"images/{stem}{SUFFIXES[image_format]}" for stem in stems]


def _hash_name(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:16]


def convert_film(source: str | Path, target: Path, film: FilmFormat) -> None:
    """Write one film. Raises FilmError where it cannot be read or is blank, see `gray.is_blank`."""
    pixels = read_resized(source, film.size, film.resize, Decoding(film.window, film.color, film.equalize))
    require_film(pixels, source)
    write_film(target, pixels, film.image_format)


def estimate_bytes(num_films: int, film: FilmFormat) -> int:
    """Rough size on disk: 0.6 bytes a pixel as PNG, 0.3 as JPEG at quality 95."""
    return int(num_films * film.size**2 * (0.6 if film.image_format == "png" else 0.3))
