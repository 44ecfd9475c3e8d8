"""Open-I's report files and tables, read."""

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from data_module.film_types import FilmError, check_file
from data_module.headings import known_kind
from data_module.sections import Sections, join_sections
from data_module.sources.archives import iterate_members
from data_module.sources.films import resolve_inside
from data_module.tables import read_at_most
from runtime.files import write_atomic

MAX_REPORT_BYTES = 2**20  # a real report is a few kB
MAX_FILM_BYTES = 2**26
_MAX_ID = 100  # characters


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
        ValueError: the archive is missing, no tar file, damaged, or holds no XML report.
    """
    reports, skipped, seen = [], [], set()
    for name, content in _iterate_files(archive):
        try:
            if isinstance(content, str):
                raise ValueError(content)
            report = parse_report(content)
            if report.uid in seen:
                raise ValueError("duplicate of an earlier report's id")
            if not report.text:
                raise ValueError("empty report: neither findings nor impression")
            seen.add(report.uid)
            reports.append(report)
        except ValueError as error:
            skipped.append({"item": name, "reason": str(error)})
    if not reports:
        raise ValueError(f"--reports {archive}: holds no readable Open-I report")
    return sorted(reports, key=lambda report: _natural(report.uid)), skipped


def _iterate_files(archive: Path) -> Iterator[tuple[str, bytes | str]]:
    """Each XML file's name and its content or why it has none. Nothing is unpacked to disk."""
    if archive.is_dir():
        for path in sorted(archive.rglob("*")):
            if path.suffix.lower() == ".xml":
                yield path.name, _read_file(archive, path)
        return
    for member in iterate_members(archive, f"--reports {archive}"):
        if member.name.lower().endswith(".xml") and not member.info.isdir():
            content = member.read(MAX_REPORT_BYTES)
            yield member.name, "a link or device, not a file" if content is None else _limit(content)


def _read_file(folder: Path, path: Path) -> bytes | str:
    try:
        inside = resolve_inside(folder, str(path.relative_to(folder)))
        check_file(inside)
        return _limit(read_at_most(inside, MAX_REPORT_BYTES))
    except FilmError as error:  # the file's name stands beside the reason
        return str(error).rpartition(": ")[2].removesuffix(", not a film")
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _limit(content: bytes) -> bytes | str:
    return content if len(content) <= MAX_REPORT_BYTES else f"larger than {MAX_REPORT_BYTES:,} bytes"


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
    for member in iterate_members(archive, str(archive), "unpack"):
        content = member.read(MAX_FILM_BYTES) if member.name.lower().endswith(".png") else None
        if content is None:
            continue
        if len(content) > MAX_FILM_BYTES:
            raise ValueError(f"{archive}: {member.name} has {member.info.size} bytes, which no film has")
        path = folder / member.name
        # What an earlier run left may come from a damaged archive.
        if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
            write_atomic(path, content)
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
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # another encoding is declared
        raise ValueError(f"not well-formed XML ({error})") from None
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise ValueError("no Open-I report: it has no uId")
    sections: dict[str | None, list[str]] = {"findings": [], "impression": []}
    for node in root.iter("AbstractText"):
        kind = known_kind(node.get("Label", ""))
        if kind in sections:  # a section that comes twice is joined
            sections[kind].append("".join(node.itertext()))  # with the text within and behind <sup>
    return OpenIReport(
        uid=uid.get("id", "").strip()[:_MAX_ID],
        findings=_join(sections["findings"]),
        impression=_join(sections["impression"]),
        mesh=tuple(_join(node.itertext()) for node in root.iterfind("MeSH/major")),
        films=tuple(dict.fromkeys(node.get("id", "") for node in root.iter("parentImage"))),
    )


def _join(texts: Iterable[str]) -> str:
    return " ".join(" ".join(texts).split())


def text_key(text: str) -> str:
    """Equal for texts that differ only in case, punctuation and spaces."""
    words = " ".join(re.findall(r"[^\W_]+", text.lower()))
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
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", uid))
