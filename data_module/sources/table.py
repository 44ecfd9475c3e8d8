"""The `csv` source: any table of films, with its column names as flags -> a pairs folder."""

import dataclasses
import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from data_module.findings import Labeler, prompt_sentence
from data_module.pairs import PairsFolder, write_pairs
from data_module.quoting import quote_columns
from data_module.sections import join_sections
from data_module.sources.config import TableConfig
from data_module.sources.conversion import convert_films
from data_module.sources.film_block import Job
from data_module.sources.films import name_films
from data_module.sources.label_columns import find_label_columns
from data_module.sources.label_map import LabelMap, merge_codes
from data_module.sources.output import (
    begin_folder,
    content_settings,
    count_values,
    hash_file,
    refuse_skipped,
    source_record,
)
from data_module.sources.table_rows import Row, RowParser
from data_module.splits import split_by_patient
from data_module.tables import read_table
from runtime.config import list_defaults


def prepare_table(config: TableConfig, labeler: Labeler | None = None) -> PairsFolder | None:
    """Convert a table into a pairs folder; returns it, also when it was finished before.

    None after a shard whose other shards are not finished.

    Args:
        labeler: labels rows that have text; a table's own labels go before it.

    Raises:
        ValueError: names the flag, file or column that is wrong.
    """
    _ = config.film_format  # a wrong flag is named before anything is written
    label_map = LabelMap(config.label_map)
    table, label_columns = _read(config, label_map)
    if begin_folder(config.out, _settings(config, table), config.overwrite, list_defaults(config)):
        print(f"{config.out}: already done")
        return PairsFolder.open(config.out)
    rows, skipped = RowParser(table, config, label_map, label_columns).parse()
    converted = _write_films(rows, config)
    if converted is None:
        return None
    rows, failed = converted
    skipped += failed
    refuse_skipped(skipped, config.strict)
    if not rows:
        first = skipped[0] if skipped else {"item": "the table", "reason": "it has no rows"}
        raise ValueError(f"{config.table}: no row can be used; {first['item']}: {first['reason']}")
    _label_texts(rows, labeler)
    records = [_as_record(row) for row in rows]
    splits = split_by_patient([record["patient_id"] for record in records], config.seed, config.split_shares)
    for record, split in zip(records, splits, strict=True):
        record["split"] = split
    texts: Counter[str] = Counter()
    for row in rows:
        texts.update(row.text_counts)
    counts = {
        "num_patients": len({record["patient_id"] for record in records}),
        "splits": count_values(splits),
        "sources": count_values([record["source"] for record in records]),
        "labels_from": count_values([record["labels_from"] for record in records]),
        "label_columns": label_columns,
        "no_finding_contradicted": sum(row.contradicted for row in rows),
        "unclear": count_values([field for row in rows for field in row.unclear]),
        "texts": dict(sorted(texts.items())),
    }
    provenance = {**source_record("csv", config), **counts}
    return write_pairs(config.out, records, provenance, _card(config, counts), skipped)


def _read(config: TableConfig, label_map: LabelMap) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table, and those of its columns that are labels."""
    where = f"--table {config.table}"
    if not config.images.is_dir():
        raise ValueError(f"--images {config.images}: no such folder")
    table = read_table(config.table, where)
    flags = [f.name for f in dataclasses.fields(config) if f.name.endswith("_column")]
    for flag in flags:
        column = getattr(config, flag)
        if column and column not in table.columns:
            name = flag.replace("_", "-")
            raise ValueError(
                f"--{name} {column!r}: {where} has no such column; it has {quote_columns(table)}"
            )
    if not config.image_column or not config.patient_column:
        raise ValueError("--image-column and --patient-column cannot be empty")
    if config.labels_column and not config.label_separator:
        raise ValueError("--label-separator cannot be empty")
    if config.labels_column:
        others = [name for name in table.columns if name in label_map and name != config.labels_column]
        if others:
            print(f"note: {where}: --labels-column goes before {', '.join(others)}", file=sys.stderr)
        return table, {}
    used = {getattr(config, flag) for flag in flags}
    labels = find_label_columns(table, used, label_map, where, alone=not config.report_column)
    if not (config.report_column or labels):
        raise ValueError(f"{where}: give --labels-column or --report-column; it has {quote_columns(table)}")
    return table, labels


def _write_films(rows: Sequence[Row], config: TableConfig) -> tuple[list[Row], list[dict[str, str]]] | None:
    names = name_films([row.item for row in rows], config.image_format)
    root = str(config.images)

    def jobs(films: range) -> list[Job]:
        return [Job(root, rows[film].item, names[film]) for film in films]

    failed = convert_films(config, jobs, len(rows))
    if failed is None:
        return None
    kept = [
        (row, name) for film, (row, name) in enumerate(zip(rows, names, strict=True)) if film not in failed
    ]
    for row, name in kept:
        row.values["file_name"] = name
    return [row for row, _ in kept], [
        {"item": rows[film].item, "reason": why} for film, why in failed.items()
    ]


def _label_texts(rows: Sequence[Row], labeler: Labeler | None) -> None:
    """Fill in what the table's labels leave open from the rows' own text."""
    with_text = [row for row in rows if row.has_text]
    if labeler and with_text:
        all_codes = labeler([join_sections(*row.sections) for row in with_text])
        for row, codes in zip(with_text, all_codes, strict=True):
            merged = merge_codes(row.codes, codes)
            row.contradicted |= "No Finding" in row.codes and "No Finding" not in merged
            if merged != row.codes:
                row.labels_from = "table + rule labeler" if row.codes else "rule labeler"
            row.codes = merged


def _as_record(row: Row) -> dict[str, Any]:
    """The row of metadata.csv, except for its split."""
    marked = "notes" if row.has_text else "text from labels"
    return {
        **row.values,
        **row.codes,
        "report": join_sections(*row.sections),
        "findings_section": row.sections.findings,
        "impression_section": row.sections.impression,
        "prompt": prompt_sentence(row.codes),
        "source": f"{row.values['source']} ({marked})",
        "labels_from": row.labels_from,
    }


def _settings(config: TableConfig, table: pd.DataFrame) -> dict[str, Any]:
    """What decides the content of the folder."""
    settings = content_settings(config)
    settings["table_hash"] = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:16]
    if config.label_map:
        settings["label_map_hash"] = hash_file(config.label_map, "--label-map")
    return {"kind": "csv", **settings}


def _card(config: TableConfig, counts: Mapping[str, Any]) -> str:
    sources = "\n".join(f"- {name}: {count} films" for name, count in counts["sources"].items())
    return f"""# Chest films and reports from {config.table.name}

Made by `prepare_data.py csv`; provenance.json tells how, skipped.csv what was left out and why.

{sources}

Films: 8-bit gray, {config.size} x {config.size}, {config.resize}. {counts["num_patients"]} patients, split by
patient. "(text from labels)" marks reports that were built from a film's labels, age, sex and view: no
person wrote them. `labels_from` says whether a row's findings come from the table, from the rule labeler that
reads its text, or from both, the table's first. The films' and notes' own licenses hold for this copy.
Not for clinical use.
"""
