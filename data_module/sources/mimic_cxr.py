"""The `mimic-cxr` source: MIMIC-CXR-JPG 2.x or MIMIC-CXR's DICOM films, with its reports -> a pairs folder.

Terms: the PhysioNet Credentialed Health Data Use Agreement, which holds for the folder made here too.
Johnson et al., MIMIC-CXR, Scientific Data 2019; MIMIC-CXR-JPG, arXiv:1901.07042.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from data_module.findings import FINDINGS
from data_module.pairs import write_pairs_in_pieces
from data_module.sections import TextPreparation, prepare_report
from data_module.sources.config import MimicConfig
from data_module.sources.conversion import convert_films
from data_module.sources.film_block import Job
from data_module.sources.films import SUFFIXES
from data_module.sources.mimic_files import (
    ReportError,
    ReportFolder,
    ReportZip,
    find_film_suffix,
    find_table,
    find_tree,
    open_reports,
)
from data_module.sources.mimic_rows import make_pieces, name_downloads, write_list
from data_module.sources.mimic_tables import LABELS, METADATA, SPLIT, FilmTable, Tables, join_tables
from data_module.sources.output import (
    begin_folder,
    content_settings,
    count_values,
    forget_outcomes,
    hash_file,
    main_reasons,
    refuse_skipped,
    source_record,
)
from data_module.sources.section_spool import SectionSpool
from runtime.config import list_defaults


def prepare_mimic(config: MimicConfig) -> bool:
    """Convert a download into a pairs folder; the same command goes on where it stopped.

    Returns:
        Whether the folder is finished; False while other shards are missing.

    Raises:
        ValueError: names the flag, file or column that is wrong.
    """
    _ = config.film_format  # a wrong flag is named before anything is written
    if not 0 <= config.validation_share < 1:
        raise ValueError(f"--validation-share {config.validation_share}: give 0 or more, and less than 1")
    tree = find_tree(config.root, "--root")
    suffix = find_film_suffix(tree)
    tables = find_tables(config)
    if config.refresh:
        forget_outcomes(config.out)
    if begin_folder(config.out, _settings(config, tables), config.overwrite, list_defaults(config)):
        print(f"{config.out}: already done; if the download has grown since, give --refresh")
        return True
    plan = plan_films(config, tables)
    refuse_skipped(plan.joined.skipped, config.strict)
    names = name_downloads(plan.joined.films)

    def jobs(films: range) -> list[Job]:
        part = names.iloc[films.start : films.stop]
        return [
            Job(str(tree), name + suffix, f"images/{name}{SUFFIXES[config.image_format]}") for name in part
        ]

    failed = convert_films(config, jobs, len(plan.joined.films))
    if failed is None:
        return False
    write_folder(config, plan, failed)
    return True


@dataclass(frozen=True)
class FilmPlan:
    """What is to be made: films whose tables and reports are sound, their sections, and counts of these."""

    joined: FilmTable
    sections: SectionSpool
    text_counts: Mapping[str, int]


def plan_films(config: MimicConfig, tables: Tables) -> FilmPlan:
    """Join the tables and read every report, before any film is decoded."""
    reports = open_reports(config.reports)
    joined = join_tables(tables, config.split, config.wanted_views, config.validation_share, config.seed)
    joined.skipped += reports.skipped
    spool = SectionSpool(config.out)
    return FilmPlan(joined, spool, _check_reports(joined, reports, config.text_preparation, spool))


def write_folder(config: MimicConfig, plan: FilmPlan, failed: Mapping[int, str]) -> None:
    """Write the table and what goes with it, once the films are there.

    Args:
        failed: number of a planned film -> why it could not be converted.

    Raises:
        ValueError: nothing is left, or --strict and something failed.
    """
    joined = plan.joined
    _drop_failed(joined, failed)
    refuse_skipped(joined.skipped, config.strict)
    if joined.films.empty:
        why = main_reasons(joined.skipped) or "no film of these views"
        raise ValueError(f"--root {config.root}: nothing can be used; {why}")
    write_list(config.out, joined.films)
    counts = {**_count(joined), "texts": dict(sorted(plan.text_counts.items()))}
    lines = [*joined.skipped, *joined.left_out]
    pieces = make_pieces(joined, plan.sections, SUFFIXES[config.image_format])
    provenance = {**source_record("mimic-cxr", config), "split_rule": config.split_rule, **counts}
    write_pairs_in_pieces(config.out, pieces, len(joined.films), provenance, _card(config, counts), lines)


def find_tables(config: MimicConfig) -> Tables:
    folders = [config.tables or config.root]
    where = f"--tables {config.tables}" if config.tables else f"--root {config.root}"
    if config.tables and not config.tables.is_dir():
        raise ValueError(f"{where}: no such folder")
    try:
        split = find_table(folders, SPLIT, where)
    except ValueError:
        if config.split == "official":
            raise
        split = None
    metadata, labels = (find_table(folders, name, where) for name in (METADATA, LABELS[config.labels]))
    return Tables(metadata, labels, split, config.patients)


def _settings(config: MimicConfig, tables: Tables) -> dict[str, Any]:
    """What decides the content. The films and loose reports go by the ids in the hashed tables."""
    settings = content_settings(config)
    settings["views"] = list(config.wanted_views)
    if config.reports.is_file():
        settings["reports_hash"] = hash_file(config.reports, "--reports")
    for name, path in vars(tables).items():
        settings[f"{name}_hash"] = hash_file(path, f"--{name}") if path else ""
    return {"kind": "mimic-cxr", **settings}


def _check_reports(
    joined: FilmTable, reports: ReportFolder | ReportZip, preparation: TextPreparation, spool: SectionSpool
) -> Counter[str]:
    """Skip the films of studies without a usable report, before any film is decoded; the others' sections go
    to the spool, and what was done to them is counted."""
    studies = joined.films.drop_duplicates("study_id")
    reasons: dict[str, str] = {}
    counts: Counter[str] = Counter()
    pairs = zip(studies["subject_id"], studies["study_id"], strict=True)
    for subject, study in tqdm(pairs, total=len(studies), desc="reports", unit="report"):
        try:
            prepared = prepare_report(reports.read(subject, study), preparation)
            if not any(prepared.sections):
                raise ReportError(preparation.nothing_left)
            spool.add(study, prepared.sections)
            counts.update(prepared.counts)
        except ReportError as error:
            reasons[study] = str(error)
    why = np.array([reasons.get(study, "") for study in joined.films["study_id"]], dtype=object)
    joined.skip(why != "", why)
    return counts


def _drop_failed(joined: FilmTable, failed: Mapping[int, str]) -> None:
    reasons = np.full(len(joined.films), "", dtype=object)
    for number, why in failed.items():
        reasons[number] = why
    joined.skip(reasons != "", reasons)


def _count(joined: FilmTable) -> dict[str, Any]:
    films, labels = joined.films, joined.labels[joined.films.drop_duplicates("study_id")["study"]]
    return {
        "num_studies": len(labels),
        "num_patients": int(films["subject_id"].nunique()),
        "num_unlabeled_studies": joined.num_unlabeled,
        "splits": count_values(films["split"]),
        "views": count_values(films["view"]),
        "studies_by_finding": {
            name: {
                label: int((labels[:, column] == code).sum())
                for label, code in (("positive", 1), ("negative", 0), ("uncertain", -1))
            }
            for column, name in enumerate(FINDINGS)
        },
        "num_left_out": len(joined.left_out),
        "reasons": count_values([line["reason"].split(" (")[0] for line in joined.skipped]),
    }


def _card(config: MimicConfig, counts: Mapping[str, Any]) -> str:
    return f"""# MIMIC-CXR films and reports, {config.size} x {config.size}

Made by `prepare_data.py mimic-cxr`; provenance.json tells how, skipped.csv what was left out and why.
{counts["num_studies"]} studies of {counts["num_patients"]} patients; labels: official
{config.labels}, kept as they are (1, 0, -1, blank). Films of one study stand in consecutive rows and share
`study_id`, report and split. Split: {config.split_rule}.

**Credentialed data.** The PhysioNet Credentialed Health Data Use Agreement 1.5.0 holds for this copy: do not
share it, do not try to identify anybody, do not send its text to services of others. Not for clinical use.
"""
