"""The `open-i` source: Indiana University chest X-rays (Open-I) -> a pairs folder.

The 3,955 reports come inside the torchxrayvision package, so that the text half works offline; the films
are joined when a folder of them is given. Terms: CC BY-NC-ND 4.0, Demner-Fushman et al., JAMIA 2016.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_module.findings import FINDINGS, prompt_sentence
from data_module.pairs import PairsFolder, provenance_record, write_pairs
from data_module.sources.films import FilmFormat, convert_films, default_num_workers, name_films
from data_module.sources.open_i_reports import (
    OpenIReport,
    find_packaged,
    read_reports,
    read_views,
    text_key,
)
from data_module.sources.output import begin_folder, count_values, hash_file, plain_config, refuse_skipped
from data_module.splits import split_by_patient

Labeler = Callable[[Sequence[str]], np.ndarray]  # reports -> (N, 14) certainties in the order of FINDINGS
_FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


@dataclass(frozen=True, kw_only=True)
class OpenIConfig:
    """Open-I (IU X-ray): its reports and, given a folder of them, its films."""

    out: Path
    """Pairs folder to write; without --images it is a text-only one."""
    reports: Path | None = None
    """NLMCXR_reports.tgz or a folder of its XML files; by default the one inside torchxrayvision."""
    images: Path | None = None
    """Folder of the films (CXR1_1_IM-0001-3001.png ...), searched with its subfolders."""
    views: tuple[str, ...] = ("PA", "AP")
    """Views to keep when films are joined; add L for laterals and "" for films of unknown view."""
    size: int = 256
    """Pixels a side of the written films."""
    resize: str = "fit-crop"
    """fit-crop (central square), pad (black bars) or squash."""
    image_format: str = "png"
    """png (exact) or jpeg (quality 95)."""
    seed: int = 0
    """Seed of the split by distinct text."""
    strict: bool = False
    """Any report or film that cannot be used is an error."""
    overwrite: bool = False
    """Replace an --out that was made with other settings."""
    dry_run: bool = False
    """Say what would be made, and stop."""
    num_workers: int = field(default_factory=default_num_workers)
    """Threads that decode films; changes nothing in the result."""


def prepare_open_i(config: OpenIConfig, labeler: Labeler | None = None) -> PairsFolder:
    """Convert Open-I into a pairs folder; returns it, also when it was finished before.

    Args:
        labeler: gives the 14 findings of the reports; without it they stay empty.

    Raises:
        ValueError: names the flag or file that is wrong.
    """
    film = FilmFormat(config.size, config.resize, config.image_format)
    archive = config.reports or find_packaged("NLMCXR_reports.tgz")
    if config.images and not config.images.is_dir():
        raise ValueError(f"--images {config.images}: no such folder")
    finished = begin_folder(config.out, _settings(config, archive, labeler is not None), config.overwrite)
    if finished is not None:
        print(f"{config.out}: already done, {len(finished)} rows")
        return finished
    reports, skipped = read_reports(archive)
    records = [_as_record(report) for report in reports]
    _label(records, labeler)
    num_left_out = 0
    if config.images:
        records, failed, num_left_out = _join_films(records, reports, config, film)
        skipped += failed
    refuse_skipped(skipped, config.strict)
    if not records:
        raise ValueError(
            f"{archive}: nothing can be used; {skipped[0]['reason'] if skipped else 'no report'}"
        )
    # Copies of one text must not straddle the splits, so the text stands in for the patient here.
    splits = split_by_patient([text_key(record["report"]) for record in records], config.seed)
    for record, split in zip(records, splits, strict=True):
        record["split"] = split
    counts = {
        "num_reports": len(reports),
        "num_distinct_texts": len({text_key(record["report"]) for record in records}),
        "num_films_of_other_views": num_left_out,
        "splits": count_values(splits),
    }
    provenance = {**provenance_record(plain_config(config)), **counts}
    return write_pairs(config.out, records, provenance, _card(counts, bool(config.images)), skipped)


def _as_record(report: OpenIReport) -> dict[str, Any]:
    return {
        "file_name": "",
        "report": report.text,
        "findings_section": report.findings,
        "impression_section": report.impression,
        # Open-I names no patients; each of its studies is of another one.
        "patient_id": f"openi-{report.uid}",
        "study_id": report.uid,
        "mesh": "|".join(report.mesh),
        "source": "open-i",
    }


def _label(records: Sequence[dict[str, Any]], labeler: Labeler | None) -> None:
    if labeler is None:
        return
    for record, codes in zip(records, labeler([record["report"] for record in records]), strict=True):
        named = {name: float(code) for name, code in zip(FINDINGS, codes, strict=True) if code == code}
        record.update(named, prompt=prompt_sentence(named))


def _join_films(
    records: Sequence[dict[str, Any]], reports: Sequence[OpenIReport], config: OpenIConfig, film: FilmFormat
) -> tuple[list[dict[str, Any]], list[dict[str, str]], int]:
    """One record a film, the films that failed, and the number of films of other views."""
    found = {
        path.stem: path for path in sorted(config.images.rglob("*")) if path.suffix.lower() in _FILM_SUFFIXES
    }
    views = read_views()
    jobs, skipped, num_left_out = [], [], 0
    for record, report in zip(records, reports, strict=True):
        for film_id in report.films:
            if views.get(film_id, "") not in config.views:
                num_left_out += 1
            elif film_id not in found:
                skipped.append({"item": film_id, "reason": f"no such film in {config.images}"})
            else:
                jobs.append((film_id, {**record, "view": views.get(film_id, "")}))
    names = name_films([f"{film_id}.png" for film_id, _ in jobs], config.image_format)
    reasons = convert_films(
        [found[film_id] for film_id, _ in jobs],
        [config.out / name for name in names],
        film,
        config.num_workers,
    )
    joined = []
    for (film_id, record), name, reason in zip(jobs, names, reasons, strict=True):
        if reason is None:
            joined.append({**record, "file_name": name})
        else:
            skipped.append({"item": film_id, "reason": reason})
    return joined, skipped, num_left_out


def _settings(config: OpenIConfig, archive: Path, labelled: bool) -> dict[str, Any]:
    passing = ("out", "strict", "overwrite", "dry_run", "num_workers", "reports")
    settings = {name: value for name, value in plain_config(config).items() if name not in passing}
    source = str(archive) if archive.is_dir() else hash_file(archive, "--reports")
    return {"kind": "open-i", **settings, "reports": source, "labelled": labelled}


def _card(counts: Mapping[str, Any], with_films: bool) -> str:
    what = "films and reports" if with_films else "reports (text only, no films)"
    return f"""# Open-I chest {what}

Indiana University chest X-ray collection, Demner-Fushman et al., JAMIA 2016. Licence: CC BY-NC-ND 4.0, which
holds for this copy: do not publish the reports' text or put it into a repository.

Made by `prepare_data.py open-i`; provenance.json tells how, skipped.csv what was left out and why.
{counts["num_distinct_texts"]} distinct texts, split by text, so that copies never straddle the splits. The 14
findings come from a rule labeler, not from a person; `mesh` holds the expert's MeSH terms, joined by "|".
Not for clinical use.
"""
