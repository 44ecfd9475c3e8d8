"""Where things lie in a MIMIC-CXR download: the film tree, the tables, the reports in a folder or a zip.

    files/p10/p10000032/s50414267/02aa804e-....jpg     MIMIC-CXR-JPG (.dcm: MIMIC-CXR)
    files/p10/p10000032/s50414267.txt                  MIMIC-CXR's reports, loose or in mimic-cxr-reports.zip

`wget -r` puts folders around this (physionet.org/files/mimic-cxr-jpg/2.1.0/) and index.html files into it;
both are passed over, and so is whatever else lies there.
"""

import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from data_module.decoding import FilmError
from data_module.sources.films import resolve_inside
from data_module.tables import read_at_most, read_table

MAX_REPORT_BYTES = 2**20  # a real report is a few kB
FILM_SUFFIXES = (".jpg", ".dcm")
REPORTS_ZIP = "mimic-cxr-reports.zip"
# What zipfile raises for damage and for what it does not know: encryption, newer versions and methods.
_ZIP_ERRORS = (
    *(OSError, EOFError, RuntimeError, ValueError, IndexError, KeyError, OverflowError, MemoryError),
    *(struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
_DEPTH = 6  # folders that a download may lie deep within --root
_GROUP = re.compile(r"p1[0-9]")
_REPORT = re.compile(r"(?:.*/)?(p1[0-9])/p(1[0-9]{7})/s([0-9]{8})\.txt")


class ReportError(ValueError):
    """A report that cannot be used. The message holds nothing of its text."""


def find_below(root: Path, accept: Callable[[Path], bool]) -> list[Path]:
    """Folders at `root` or below it that are accepted, by breadth; film folders are not searched."""
    found, level, seen = [], [root], {root.resolve()}
    for _ in range(_DEPTH):
        found += [folder for folder in level if accept(folder)]
        below = [path for folder in level for path in sorted(folder.iterdir()) if path.is_dir()]
        level = []
        for folder in below:
            # A link may lead back up, or twice to one folder.
            if not _GROUP.fullmatch(folder.name) and (real := folder.resolve()) not in seen:
                seen.add(real)
                level.append(folder)
    return found


def find_tree(root: Path, flag: str) -> Path:
    """The folder that holds p10 ... p19.

    Raises:
        ValueError: there is none, or more than one.
    """
    if not root.is_dir():
        raise ValueError(f"{flag} {root}: no such folder")
    trees = find_below(root, _has_groups)
    if len(trees) != 1:
        what = "holds no folder with p10 ... p19 in it" if not trees else "holds several downloads"
        names = ", ".join(str(tree.relative_to(root)) for tree in trees)
        raise ValueError(f"{flag} {root}: {what} {names}".rstrip() + "; name the right folder")
    return trees[0]


def _has_groups(folder: Path) -> bool:
    return any(_GROUP.fullmatch(below.name) and below.is_dir() for below in folder.iterdir())


def find_film_suffix(tree: Path) -> str:
    """.jpg or .dcm, whichever the first film of the tree has."""
    for path in tree.glob("p1[0-9]/p*/s*/*"):
        if path.suffix in FILM_SUFFIXES:
            return path.suffix
    raise ValueError(f"--root {tree}: holds no film (p10/p10000032/s50414267/*.jpg or *.dcm)")


def find_table(folders: Sequence[Path], name: str, where: str) -> Path:
    """A table such as mimic-cxr-2.0.0-split.csv.gz, packed or not, in or below one of the folders.

    Raises:
        ValueError: says where to get it.
    """
    for folder in folders:
        for below in find_below(folder, lambda path: any((path / n).is_file() for n in (name, name[:-3]))):
            return next(below / n for n in (name, name[:-3]) if (below / n).is_file())
    raise ValueError(
        f"{where}: {name} is not there. It comes with MIMIC-CXR-JPG "
        f"(https://physionet.org/files/mimic-cxr-jpg/2.1.0/{name}); give its folder by --tables"
    )


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a .csv or .csv.gz table as text.

    Raises:
        ValueError: a damaged or half-downloaded file, one too large to be true, or a missing column.
    """
    table = read_table(path, str(path), columns)
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"{path}: column(s) {', '.join(missing)} missing; `wget -c` completes a download")
    return table[list(columns)]


class ReportFolder:
    """Reports as loose files: read(subject, study) -> text."""

    skipped: Sequence[dict[str, str]] = ()

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def read(self, subject: str, study: str) -> str:
        """Raises ReportError for a missing, unsafe, oversized or undecodable file."""
        try:
            path = resolve_inside(self._tree, f"p{subject[:2]}/p{subject}/s{study}.txt")
            return _decode(read_at_most(path, MAX_REPORT_BYTES))
        except FilmError:
            raise ReportError("the report is a link out of --reports") from None
        except (FileNotFoundError, NotADirectoryError):
            raise ReportError("no report file") from None
        except OSError as error:
            raise ReportError(f"the report cannot be read ({error.strerror or error})") from None


class ReportZip:
    """Reports in mimic-cxr-reports.zip: read(subject, study) -> text. Nothing is unpacked to the disk.

    `skipped` lists entries that are not taken: names that lead out of the archive, links and duplicates.

    Raises:
        ValueError: a damaged or half-downloaded archive, or one without reports.
    """

    def __init__(self, path: Path) -> None:
        self.skipped: list[dict[str, str]] = []
        self._entries: dict[tuple[str, str], zipfile.ZipInfo] = {}
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise ValueError(
                f"--reports {path}: damaged or half downloaded ({error}); `wget -c` completes it"
            ) from None
        for entry in self._zip.infolist():
            match = _REPORT.fullmatch(entry.filename.replace("\\", "/"))
            if match is None or entry.is_dir():
                continue
            key = (match[2], match[3])
            if why := self._refuse(entry, key):
                self.skipped.append({"item": entry.filename[:200], "reason": why})
            else:
                self._entries[key] = entry
        if not self._entries:
            raise ValueError(f"--reports {path}: holds no report (p10/p10000032/s50414267.txt)")

    def _refuse(self, entry: zipfile.ZipInfo, key: tuple[str, str]) -> str:
        name = entry.filename.replace("\\", "/")
        if name.startswith("/") or ":" in name or ".." in name.split("/"):
            return "the name leads out of the archive"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "a link, not a report"
        return "duplicate: this report stands in the archive twice" if key in self._entries else ""

    def read(self, subject: str, study: str) -> str:
        """Raises ReportError for a missing, oversized, damaged or undecodable entry."""
        entry = self._entries.get((subject, study))
        if entry is None:
            raise ReportError("no report file")
        try:
            with self._zip.open(entry) as file:  # at most the limit is unpacked, whatever the entry claims
                return _decode(file.read(MAX_REPORT_BYTES + 1))
        except ReportError:
            raise
        except _ZIP_ERRORS:
            raise ReportError("the report is damaged in the zip file, or packed in an unknown way") from None


def open_reports(path: Path) -> ReportFolder | ReportZip:
    """The reports of a zip file, of a folder that holds it, or of a folder of text files.

    Raises:
        ValueError: there are none.
    """
    if path.is_file():
        return ReportZip(path)
    if not path.is_dir():
        raise ValueError(f"--reports {path}: no such file or folder")
    if not find_below(path, _has_groups):
        zips = find_below(path, lambda folder: (folder / REPORTS_ZIP).is_file())
        if zips:
            return ReportZip(zips[0] / REPORTS_ZIP)
    return ReportFolder(find_tree(path, "--reports"))


def _decode(content: bytes) -> str:
    if len(content) > MAX_REPORT_BYTES:
        raise ReportError(f"the report has more than {MAX_REPORT_BYTES:,} bytes")
    if not content.strip():
        raise ReportError("the report is empty")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ReportError("the report is not UTF-8 text") from None
