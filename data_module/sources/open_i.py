"""The `open-i` source: Indiana University chest X-rays (Open-I) -> a pairs folder.

The 3,955 reports come inside the torchxrayvision package, so that the text half works offline; the films
are joined when a folder of them is given or downloaded. Terms: CC BY-NC-ND 4.0, Demner-Fushman et al., JAMIA
2016.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_module.findings import FINDINGS, Labeler, prompt_sentence, settle_no_finding
from data_module.pairs import PairsFolder, write_pairs
from data_module.sections import Sections, join_sections, prepare_sections
from data_module.sources.config import OpenIConfig
from data_module.sources.conversion import convert_films
from data_module.sources.download import download
from data_module.sources.film_block import Job
from data_module.sources.films import name_films
from data_module.sources.label_map import merge_codes
from data_module.sources.open_i_layouts import (
    FRONTAL,
    GivenSplit,
    film_key,
    find_films,
    find_views,
    read_any_reports,
    read_split,
)
from data_module.sources.open_i_mesh import map_headings
from data_module.sources.open_i_reports import OpenIReport, find_packaged, text_key, unpack_films
from data_module.sources.output import (
    begin_folder,
    content_settings,
    count_values,
    hash_file,
    main_reasons,
    refuse_skipped,
    source_record,
)
from data_module.splits import split_by_patient
from runtime.config import list_defaults

ARCHIVES = ("NLMCXR_reports.tgz", "NLMCXR_png.tgz")
_FILM_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


def prepare_open_i(config: OpenIConfig, labeler: Labeler | None = None) -> PairsFolder | None:
    """Convert Open-I into a pairs folder; returns it, also when it was finished before.

    None after a shard whose other shards are not finished.

    Args:
        labeler: gives the 14 findings of the reports; without it the headings' stand alone.

    Raises:
        ValueError: names the flag or file that is wrong, or says that there is no network.
    """
    _ = config.film_format  # a wrong flag is named before anything is written
    archive, images = _find_inputs(config)
    given = _read_given_split(config)
    settings = _settings(config, archive, labeler is not None)
    if begin_folder(config.out, settings, config.overwrite, list_defaults(config)):
        print(f"{config.out}: already done")
        return PairsFolder.open(config.out)
    reports, skipped = read_any_reports(archive)
    unnamed = [report.uid for report in reports if given and given.find(report.uid) is None]
    reports = [report for report in reports if not given or given.find(report.uid)]
    texts: Counter[str] = Counter()
    left, records = [], []
    for report in reports:
        sections, counts = prepare_sections(report.sections, config.text_preparation)
        texts.update(counts)
        if any(sections):
            left.append(report)
            records.append(_as_record(report, sections))
        else:
            skipped.append({"item": report.uid, "reason": config.text_preparation.nothing_left})
    _label(records, left, config.labels, labeler)
    left_out = [{"item": uid, "reason": "left out: not in --split-file"} for uid in unnamed]
    if images:
        joined = _join_films(records, left, config, images)
        if joined is None:
            return None
        records, failed, other_views = joined
        skipped += failed
        left_out += other_views
    refuse_skipped(skipped, config.strict)
    if not records:
        raise ValueError(f"{archive}: nothing can be used; {main_reasons(skipped) or 'no report'}")
    keys = [text_key(record["report"]) for record in records]
    if given:
        splits = [str(given.find(record["study_id"])) for record in records]
    else:  # copies of one text must not straddle the splits, so the text stands in for the patient
        splits = split_by_patient(keys, config.seed, config.split_shares)
    for record, split in zip(records, splits, strict=True):
        record["split"] = split
    counts = {
        "num_reports": len(left),
        "num_distinct_texts": len(set(keys)),
        "num_films_of_other_views": len(left_out) - len(unnamed),
        "labels": config.labels,
        "split": f"R2Gen's, from {given.source}" if given else "by text, so that copies never straddle",
        "splits": count_values(splits),
        "texts": dict(sorted(texts.items())),
    }
    provenance = {**source_record("open-i", config), **counts}
    return write_pairs(config.out, records, provenance, _card(counts, bool(images)), skipped + left_out)


def _read_given_split(config: OpenIConfig) -> GivenSplit | None:
    if (config.split == "r2gen") != (config.split_file is not None):
        raise ValueError("--split r2gen and --split-file FILE go together; FILE is R2Gen's annotation.json")
    return read_split(config.split_file) if config.split_file else None


def _find_inputs(config: OpenIConfig) -> tuple[Path, Path | None]:
    """The report archive, and the folder of films or None."""
    if config.download:
        if config.reports or config.images:
            raise ValueError("--download: leave out --reports and --images, which it stands for")
        reports, films = (config.download / name for name in ARCHIVES)
        for archive in (reports, films):
            download(f"{config.mirror}/{archive.name}", archive)
        return reports, unpack_films(films)
    if config.images and not config.images.is_dir():
        raise ValueError(f"--images {config.images}: no such folder")
    return config.reports or find_packaged(ARCHIVES[0]), config.images


def _as_record(report: OpenIReport, sections: Sections) -> dict[str, Any]:
    return {
        "file_name": "",
        "report": join_sections(*sections),
        "findings_section": sections.findings,
        "impression_section": sections.impression,
        # Open-I names no patients; each of its studies is of another one.
        "patient_id": f"openi-{report.uid}",
        "study_id": report.uid,
        "mesh": "|".join(report.mesh),
        "source": "open-i",
    }


def _label(
    records: Sequence[dict[str, Any]], reports: Sequence[OpenIReport], labels: str, labeler: Labeler | None
) -> None:
    from_text = np.full((len(records), len(FINDINGS)), np.nan, dtype=np.float32)
    if labeler and labels != "mesh":
        from_text = labeler([record["report"] for record in records])
    for record, report, codes in zip(records, reports, from_text, strict=True):
        headings = {} if labels == "text" else settle_no_finding(map_headings(report.mesh))
        named = merge_codes(headings, codes)
        record.update(named, prompt=prompt_sentence(named))


def _join_films(
    records: Sequence[dict[str, Any]], reports: list[OpenIReport], config: OpenIConfig, images: Path
) -> tuple[list[dict[str, Any]], list[dict[str, str]], list[dict[str, str]]] | None:
    """One record a film, the films that failed, and those of other views; None while shards are missing."""
    found = {
        film_key(str(path)): str(path.relative_to(images))
        for path in sorted(images.rglob("*"))
        if path.suffix.lower() in _FILM_SUFFIXES
    }
    views = find_views(found, config.projections)
    films, skipped, left_out = [], [], []
    for record, report in zip(records, find_films(reports, found), strict=True):
        if not report.films:
            skipped.append({"item": report.uid, "reason": "the report names no film"})
        for film_id in report.films:
            key = film_key(film_id)
            view = views.get(key, "")
            if view not in config.views and not (view == FRONTAL and {"PA", "AP"} <= set(config.views)):
                left_out.append({"item": film_id, "reason": f"left out: view {view!r} is not in --views"})
            elif key not in found:
                skipped.append({"item": film_id, "reason": "no such film in --images"})
            else:
                films.append((film_id, {**record, "view": view}))
    names = name_films([f"{film_id}.png" for film_id, _ in films], config.image_format)

    def jobs(numbers: range) -> list[Job]:
        return [Job(str(images), found[film_key(films[number][0])], names[number]) for number in numbers]

    failed = convert_films(config, jobs, len(films))
    if failed is None:
        return None
    skipped += [{"item": films[number][0], "reason": why} for number, why in failed.items()]
    kept = [number for number in range(len(films)) if number not in failed]
    return [{**films[number][1], "file_name": names[number]} for number in kept], skipped, left_out


def _settings(config: OpenIConfig, archive: Path, labeled: bool) -> dict[str, Any]:
    settings = content_settings(config)
    for flag in ("projections", "split_file"):  # by content, and absent where not given, as in older folders
        if settings.pop(flag):
            settings[flag] = hash_file(getattr(config, flag), f"--{flag.replace('_', '-')}")
    source = archive.name if archive.is_dir() else hash_file(archive, "--reports")
    return {"kind": "open-i", **settings, "reports": source, "labeled": labeled}


_LABELS = {
    "both": "come from the experts' MeSH headings and, where these are silent, from a rule labeler",
    "mesh": "come from the experts' MeSH headings",
    "text": "come from a rule labeler, not from a person",
}


def _card(counts: Mapping[str, Any], with_films: bool) -> str:
    what = "films and reports" if with_films else "reports (text only, no films)"
    return f"""# Open-I chest {what}

Indiana University chest X-ray collection, Demner-Fushman et al., JAMIA 2016. License: CC BY-NC-ND 4.0, which
holds for this copy: do not publish the reports' text or put it into a repository.

Made by `prepare_data.py open-i`; provenance.json tells how, skipped.csv what was left out and why.
{counts["num_distinct_texts"]} distinct texts. Split: {counts["split"]}.
The 14 findings {_LABELS[counts["labels"]]}; `mesh` holds the experts'
headings, joined by "|". Not for clinical use.
"""
