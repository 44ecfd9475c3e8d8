"""Open-I as others hand it on: Kaggle's two tables, R2Gen's annotation.json, and the names of their films.

Official archive: NLMCXR_reports.tgz, films CXR1_1_IM-0001-4001.png. Kaggle: indiana_reports.csv,
indiana_projections.csv, films images_normalized/1_IM-0001-4001.dcm.png. R2Gen (Chen et al., EMNLP 2020):
annotation.json with its split, films images/CXR1_1_IM-0001/0.png.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from data_module.pairs import SPLITS
from data_module.sources.open_i_reports import OpenIReport, read_reports, read_views

FRONTAL = "frontal"  # said to be frontal, but not whether PA or AP
_FILM = re.compile(r"(?:CXR)?(\d+)_(?:\d+_)?(IM-[\d-]+)(?:\.dcm)?")
_R2GEN_FOLDER = re.compile(r"CXR(\d+)_(?:\d+_)?IM-[\d-]+")
_SPLIT_NAMES = {
    "train": SPLITS[0],
    "val": SPLITS[1],
    "validation": SPLITS[1],
    "test": SPLITS[2],
    "": SPLITS[0],
}


def film_key(path: str) -> str:
    """One name for a film under all its names; of R2Gen's, which tell no film, study and place."""
    pure = PurePath(path)
    named, folder = _FILM.fullmatch(pure.stem), _R2GEN_FOLDER.fullmatch(pure.parent.name)
    if named:
        return f"{named[1]}_{named[2]}"
    return f"{folder[1]}/{pure.stem}" if folder and pure.stem.isdigit() else pure.stem


def find_films(reports: list[OpenIReport], found: Mapping[str, str]) -> list[OpenIReport]:
    """The reports with their films: as the archive names them, or else by the names of the films at hand.

    R2Gen's numbered films stand in the place of the archive's, which they are renamed from.

    Args:
        found: film key -> path of each film at hand.
    """
    own: dict[str, list[str]] = {}
    for key in sorted(found):
        own.setdefault(re.split("[_/]", key)[0], []).append(key)
    joined = []
    for report in reports:
        there, films = own.get(study_number(report.uid), []), report.films
        if not films or any("/" in key for key in there):
            films = tuple(_film_name(key, found[key]) for key in there)
        joined.append(replace(report, films=films))
    return joined


def _film_name(key: str, path: str) -> str:
    pure = PurePath(path)
    return f"{pure.parent.name}/{pure.stem}" if "/" in key else pure.stem.removesuffix(".dcm")


def find_views(keys: Iterable[str], projections: Path | None) -> dict[str, str]:
    """Film key -> PA, AP, L, FRONTAL or "" (unknown).

    The tables inside torchxrayvision say which is PA or AP, Kaggle's which is frontal at all. Of R2Gen's
    films, which lost their names, the first is taken for the frontal and the others for laterals.
    """
    views = {film_key(film): view for film, view in read_views().items()}
    for key, view in (read_projections(projections) if projections else {}).items():
        if view != FRONTAL or views.get(key) not in ("PA", "AP"):
            views[key] = view
    for key in keys:
        if "/" in key:
            views[key] = FRONTAL if key.endswith("/0") else "L"
    return views


def study_number(name: str) -> str:
    """The number of a study in its uid (CXR12, 12) or in R2Gen's id (CXR12_IM-0001-1001)."""
    found = re.match(r"(?:CXR)?(\d+)(?:_|$)", name)
    return found[1] if found else name


def read_any_reports(path: Path) -> tuple[list[OpenIReport], list[dict[str, str]]]:
    """`read_reports` for the archive, Kaggle's indiana_reports.csv or R2Gen's annotation.json."""
    readers = {".csv": read_kaggle_reports, ".json": read_r2gen_reports}
    if path.is_dir() or path.suffix not in readers:
        return read_reports(path)
    reports, skipped = [], []
    for report in readers[path.suffix](path):
        if report.text:
            reports.append(report)
        else:
            skipped.append({"item": report.uid, "reason": "empty report: neither findings nor impression"})
    return reports, skipped


def read_kaggle_reports(path: Path) -> list[OpenIReport]:
    """indiana_reports.csv. Raises ValueError where a column is missing."""
    table = _read_table(path, "--reports", ("uid", "findings", "impression"))
    majors = table["MeSH"] if "MeSH" in table else [""] * len(table)
    return [
        OpenIReport(f"CXR{uid}", _squeeze(findings), _squeeze(impression), _split_headings(mesh), ())
        for uid, findings, impression, mesh in zip(
            table["uid"], table["findings"], table["impression"], majors, strict=True
        )
    ]


def _split_headings(mesh: str) -> tuple[str, ...]:
    """Kaggle joins headings by ";"; each is as in the archive ("Opacity/lung/base/left")."""
    return tuple(part.strip() for part in mesh.split(";") if part.strip())


def read_r2gen_reports(path: Path) -> list[OpenIReport]:
    """annotation.json: its reports are Open-I's findings sections. Raises ValueError for another file."""
    return [
        OpenIReport(
            f"CXR{study_number(str(entry['id']))}",
            _squeeze(str(entry["report"])),
            "",
            (),
            tuple(str(image) for image in entry["image_path"]),
        )
        for entries in _read_annotation(path, "--reports").values()
        for entry in entries
    ]


def read_projections(path: Path) -> dict[str, str]:
    """Film key -> FRONTAL or "L", from indiana_projections.csv."""
    table = _read_table(path, "--projections", ("filename", "projection"))
    names = {"frontal": FRONTAL, "lateral": "L"}
    return {
        film_key(film): names.get(view.lower(), "")
        for film, view in zip(table["filename"], table["projection"], strict=True)
    }


@dataclass(frozen=True)
class GivenSplit:
    """A split that others made: study number -> train, validation or test."""

    of_study: Mapping[str, str]
    source: str

    def find(self, uid: str) -> str | None:
        """None where the file does not name the study."""
        return self.of_study.get(study_number(uid))


def read_split(path: Path) -> GivenSplit:
    """R2Gen's annotation.json, or a table with the columns uid and r2gen_split.

    A study that the table names without a split is trained on: no paper tests on it.

    Raises:
        ValueError: it is neither, or names a split that there is not.
    """
    if path.suffix == ".json":
        named = {
            study_number(str(entry["id"])): split
            for split, entries in _read_annotation(path, "--split-file").items()
            for entry in entries
        }
    else:
        table = _read_table(path, "--split-file", ("uid", "r2gen_split"))
        named = dict(zip(table["uid"].map(study_number), table["r2gen_split"], strict=True))
    unknown = sorted({split for split in named.values() if split not in _SPLIT_NAMES})
    if unknown:
        raise ValueError(f"--split-file {path}: {len(unknown)} of its splits are none of train, val and test")
    return GivenSplit({study: _SPLIT_NAMES[split] for study, split in named.items()}, path.name)


def _read_annotation(path: Path, flag: str) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{flag} {path}: cannot be read as JSON ({type(error).__name__})") from None
    wanted = {"id", "report", "image_path"}
    entries = [entry for part in content.values() for entry in part] if isinstance(content, dict) else []
    if not entries or not all(isinstance(entry, dict) and wanted <= entry.keys() for entry in entries):
        raise ValueError(
            f"{flag} {path}: not R2Gen's annotation.json (train, val, test; id, report, image_path)"
        )
    return content


def _read_table(path: Path, flag: str, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{flag} {path}: cannot be read as a table ({type(error).__name__})") from None
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{flag} {path}: has no column {', '.join(missing)}")
    return table


def _squeeze(text: str) -> str:
    return " ".join(text.split())
