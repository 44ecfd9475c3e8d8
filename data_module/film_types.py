"""What every reader of films shares: settings, error and warning, and the checks before a file is opened."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

# The largest films are about 20 million pixels; a file that claims more than this is a decompression bomb.
MAX_PIXELS = 80_000_000
WINDOWS = ("voi", "percentile", "minmax")
COLORS = ("convert", "refuse")
Shape = tuple[int, int]  # height, width

_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


class FilmError(ValueError):
    """A film that cannot be used: the message names the file and the reason."""


class FilmWarning(UserWarning):
    """A film was read, but something that its file says was left out. The message names no film, so that
    films with the same flaw can be counted."""


@dataclass(frozen=True)
class Decoding:
    """How a file becomes gray pixels.

    Attributes:
        window: of DICOM values. "voi": the file's own window or LUT; "percentile": its 0.5th to 99.5th
            percentile; "minmax": lowest to highest value, as MIMIC-CXR-JPG was made.
        color: "convert" color to luminance, or "refuse" it.
        equalize: equalize the histogram of the whole film, as MIMIC-CXR-JPG was made.
    """

    window: str = "voi"
    color: str = "convert"
    equalize: bool = False


PLAIN = Decoding()


def check_file(path: str | Path) -> None:
    """Raise FilmError for what is no plain file, before it is opened: a pipe would be waited for for ever."""
    try:
        status = os.stat(path)
    except OSError as error:
        gone = "a link to a file that is not there" if os.path.islink(path) else "no such file"
        known = isinstance(error, FileNotFoundError)
        raise FilmError(f"{path}: {gone if known else f'cannot be opened ({error.strerror})'}") from None
    except ValueError:
        raise FilmError("a film's path holds a NUL character") from None
    if not stat.S_ISREG(status.st_mode):
        raise FilmError(f"{path}: {_KINDS.get(stat.S_IFMT(status.st_mode), 'is no plain file')}, not a film")


def check_num_pixels(path: str | Path, width: int, height: int) -> None:
    """Raise FilmError for a size that no film has, before anything is decoded."""
    if not 0 < width * height <= MAX_PIXELS:
        raise FilmError(f"{path}: {width} x {height}; at most {MAX_PIXELS:,} pixels are read")
