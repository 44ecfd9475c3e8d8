"""Open-I's report files and tables, read."""

import hashlib
import importlib.util
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import pandas as pd
from tqdm import tqdm

from data_module.film_types import FilmError, check_file
from data_module.sections import Sections, join_sections
from data_module.sources.films import resolve_inside
from runtime.files import write_atomic

MAX_REPORT_BYTES = 2**20  # a real report is a few kB
MAX_FILM_BYTES = 2**26


@dataclass(frozen=True)
class OpenIReport:
    """One report. `mesh`: the expert's MeSH "major" terms; `films`: ids of its films."""

    uid: str
    findings: str
    impression: str
    mesh: tuple[str, ...]
    films: tuple[str, ...]

    @property
    def sections(self) -> Sections:
        return Sections(self.findings, self.impression)

    @property
    def text(self) -> str:
        return join_sections(*self.sections)


def find_packaged(name: str) -> Path:
    """A data file of the torchxrayvision package, found without importing it."""
    spec = importlib.util.find_spec("torchxrayvision")
    path = Path(spec.origin).parent / "data" / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ValueError(f"{name} is not in the torchxrayvision package; give --reports FILE")
    return path


def read_reports(archive: Path) -> tuple[list[OpenIReport], list[dict[str, str]]]:
    """All reports with a findings or impression section, by number, and the others with the reason.

    Raises:
        ValueError: the archive is missing, not a tar file, or holds no XML report.
    """
    reports, skipped, seen = [], [], set()
    for name, content in _iterate_files(archive):
        try:
            report = parse_report(content())
            if report.uid in seen:
                raise ValueError(f"duplicate id {report.uid}")
            if not report.text:
                raise ValueError("empty report: neither findings nor impression")
            seen.add(report.uid)
            reports.append(report)
        except ValueError as error:
            skipped.append({"item": name, "reason": str(error)})
    if not reports:
        raise ValueError(f"--reports {archive}: holds no readable Open-I report")
    return sorted(reports, key=lambda report: _natural(report.uid)), skipped


def _iterate_files(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each XML file's name and how to read it, which raises ValueError for one that is too large or lies
    outside. Nothing is unpacked to disk."""
    if archive.is_dir():
        for path in sorted(archive.rglob("*.xml")):
            yield path.name, partial(_read_file, archive, path)
        return
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(".xml"):
                    yield member.name.rsplit("/", 1)[-1], partial(_read_at_most, tar.extractfile(member))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ValueError(f"--reports {archive}: cannot be read as a tar archive ({error})") from error


def _read_file(folder: Path, path: Path) -> bytes:
    inside = resolve_inside(folder, str(path.relative_to(folder)))
    try:
        check_file(inside)
        with inside.open("rb") as file:
            return _read_at_most(file)
    except FilmError as error:  # its name stands beside the reason
        raise ValueError(str(error).removeprefix(f"{inside}: ").removesuffix(", not a film")) from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def _read_at_most(file: IO[bytes]) -> bytes:
    content = file.read(MAX_REPORT_BYTES + 1)
    if len(content) > MAX_REPORT_BYTES:
        raise ValueError(f"larger than {MAX_REPORT_BYTES:,} bytes")
    return content


def unpack_films(archive: Path) -> Path:
    """The films of NLMCXR_png.tgz in a folder beside it, which is returned.

    Only plain PNG files come out, by their bare names, so that no path in the archive leads anywhere else.

    Raises:
        ValueError: the archive is damaged, or holds an impossibly large film.
    """
    folder = archive.with_name(archive.name.split(".")[0])
    done = folder / "complete"
    if done.is_file():
        return folder
    try:
        with tarfile.open(archive) as tar:
            for member in tqdm(tar, desc="unpack", unit="film"):
                name = member.name.rsplit("/", 1)[-1]
                file = tar.extractfile(member) if member.isfile() and name.endswith(".png") else None
                if file is None or (folder / name).is_file():
                    continue
                if member.size > MAX_FILM_BYTES:
                    raise ValueError(f"{archive}: {name} has {member.size} bytes, which no film has")
                write_atomic(folder / name, file.read())
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"{archive}: damaged ({error}); delete it and run the command again") from error
    write_atomic(done, "")
    return folder


def parse_report(content: bytes) -> OpenIReport:
    """One XML file of Open-I. Raises ValueError for anything else, and for a DTD or entities."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("XML with a DTD or entities, which no Open-I report has")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"not well-formed XML ({error})") from None
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise ValueError("no Open-I report: it has no uId")
    sections = {
        node.get("Label", ""): " ".join((node.text or "").split()) for node in root.iter("AbstractText")
    }
    return OpenIReport(
        uid=uid.get("id", ""),
        findings=sections.get("FINDINGS", ""),
        impression=sections.get("IMPRESSION", ""),
        mesh=tuple((node.text or "").strip() for node in root.iterfind("MeSH/major")),
        films=tuple(node.get("id", "") for node in root.iter("parentImage")),
    )


def text_key(text: str) -> str:
    """Equal for texts that differ only in case, punctuation and spaces."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def read_views() -> dict[str, str]:
    """Film id -> PA, AP or L, from the two tables that come with torchxrayvision; missing where unknown.

    The DICOM headers call many laterals PA, so PA is believed only where the table that was made by
    clustering the films (one film of each report) says so too.
    """
    headers = pd.read_csv(
        find_packaged("nlmcxr_dicom_metadata.csv.gz"), usecols=["imageid", "View Position"], dtype=str
    )
    said = dict(zip(headers["imageid"], headers["View Position"].fillna(""), strict=True))
    laterals = ("LL", "RL", "LATERAL", "LARGE LATERAL")
    views = {film: "L" if view in laterals else view for film, view in said.items() if view != "PA"}
    clusters = pd.read_csv(find_packaged("nlmcxr_tsne_pa.csv.gz"), dtype=str)
    for film, view in zip(clusters["imageid"], clusters["tsne-view"], strict=True):
        views[film] = "AP" if view == "PA" and said.get(film) == "AP" else view
    return views


def _natural(uid: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", uid))
