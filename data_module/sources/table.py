"""The `csv` source: any table of films, with its column names as flags -> a pairs folder."""

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from data_module.findings import Labeler, prompt_sentence
from data_module.pairs import PairsFolder, write_pairs
from data_module.sections import join_sections
from data_module.sources.config import TableConfig
from data_module.sources.conversion import convert_films
from data_module.sources.film_block import Job
from data_module.sources.films import name_films
from data_module.sources.label_map import merge_codes, quote_label
from data_module.sources.output import (
    SCRATCH,
    begin_folder,
    content_settings,
    count_values,
    hash_file,
    refuse_skipped,
    source_record,
)
from data_module.sources.pairs_table import convert_pairs, find_pairs
from data_module.sources.table_opening import OpenTable, open_table
from data_module.sources.table_rows import Row, RowParser
from data_module.splits import settle_splits
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
    pairs = find_pairs(config)
    if pairs:
        return convert_pairs(config, pairs, pairs.table["file_name"].tolist())
    opened = open_table(config)
    stored = opened.as_pairs()
    if stored:
        return convert_pairs(config, *stored, opened.films)
    if begin_folder(config.out, _settings(config, opened.table), config.overwrite, list_defaults(config)):
        print(f"{config.out}: already done")
        return PairsFolder.open(config.out)
    parser = RowParser(opened.table, opened.config, opened.label_map, opened.label_columns)
    rows, skipped = parser.parse()
    _settle_splits(rows, opened.config)
    converted = _write_films(rows, opened)
    if converted is None:
        return None
    rows, failed = converted
    skipped += failed
    refuse_skipped(skipped, config.strict)
    if not rows:
        first = (skipped + parser.left_out or [{"item": "the table", "reason": "it has no rows"}])[0]
        raise ValueError(f"{config.table}: no row can be used; {first['item']}: {first['reason']}")
    _label_texts(rows, labeler)
    records = [_as_record(row) for row in rows]
    texts: Counter[str] = Counter()
    for row in rows:
        texts.update(row.text_counts)
    counts = {
        "num_patients": len({record["patient_id"] for record in records}),
        "splits": count_values([record["split"] for record in records]),
        "sources": count_values([record["source"] for record in records]),
        "labels_from": count_values([record["labels_from"] for record in records]),
        "label_columns": opened.label_columns,
        "labels_without_finding": _tell_unmapped(parser, config),
        "no_finding_contradicted": sum(row.contradicted for row in rows),
        "unclear": count_values([field for row in rows for field in row.unclear]),
        "texts": dict(sorted(texts.items())),
    }
    provenance = {**source_record("csv", config), **counts}
    shutil.rmtree(config.out / SCRATCH, ignore_errors=True)
    return write_pairs(config.out, records, provenance, _card(config, counts), skipped + parser.left_out)


def _settle_splits(rows: Sequence[Row], config: TableConfig) -> None:
    """Each row's split, before hours of films: what the table says, else by patient."""
    said = [row.values["split"] for row in rows]
    patients = [row.values["patient_id"] for row in rows]
    where = f"--split-column {config.split_column}"
    splits = settle_splits(said, patients, config.seed, config.split_shares, where)
    for row, split in zip(rows, splits, strict=True):
        row.values["split"] = split


def _tell_unmapped(parser: RowParser, config: TableConfig) -> dict[str, int]:
    """Labels that have no place among the 14 findings, with their counts; said on the screen, too."""
    counts = dict(parser.without_finding.most_common())
    if counts:
        named = ", ".join(f"{quote_label(name)} ({count:,})" for name, count in list(counts.items())[:20])
        rest = f" and {len(counts) - 20} more" if len(counts) > 20 else ""
        print(
            f"note: {config.table}: {len(counts)} label(s) are none of the 14 findings: {named}{rest} "
            "(provenance.json); --label-map gives them one",
            file=sys.stderr,
        )
    return counts


def _write_films(rows: Sequence[Row], opened: OpenTable) -> tuple[list[Row], list[dict[str, str]]] | None:
    config, root = opened.config, opened.config.images
    names = name_films([row.item for row in rows], config.image_format)
    if opened.films:
        root = config.out / SCRATCH
        opened.films(root)

    def jobs(films: range) -> list[Job]:
        return [Job(str(root), rows[film].item, names[film]) for film in films]

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
        "prompt": row.values["prompt"] or prompt_sentence(row.codes),
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
