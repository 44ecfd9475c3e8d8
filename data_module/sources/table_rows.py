"""The `csv` source, row by row: text, labels, age and sex as they stand in tables -> checked values."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from data_module.decoding import FilmError
from data_module.findings import CERTAINTIES, FINDINGS
from data_module.pairs import quote_cell
from data_module.sections import Sections, TextPreparation, prepare_report
from data_module.sources.built_report import build_report
from data_module.sources.films import resolve_inside
from data_module.sources.label_map import Codes, LabelMap, normalise_label
from data_module.sources.output import count_values

MAX_AGE = 120.0  # years
MAX_LABEL = 40  # characters of a label
MAX_NAME = 500  # characters of a path
EMPTY = ("", "nan", "na", "n/a", "none", "null")


class Columns(Protocol):
    """Which column holds what, "" where the table has none; the flags of the `csv` source."""

    images: Path
    image_column: str
    patient_column: str
    report_column: str
    labels_column: str
    label_separator: str
    view_column: str
    sex_column: str
    age_column: str
    study_column: str
    source_column: str
    source_name: str

    @property
    def text_preparation(self) -> TextPreparation: ...


@dataclass
class Row:
    """One usable row, on its way to the pairs folder."""

    item: str
    values: dict[str, Any]
    codes: Codes
    sections: Sections
    text_counts: Counter[str]  # of `prepare_report`; empty where the sections were built from the labels
    labels_from: str = ""  # table, rule labeler, or both; "" where there are none

    @property
    def has_text(self) -> bool:
        return bool(self.text_counts)


class UnusableRow(ValueError):
    """Why a row cannot be used."""


def parse_rows(
    table: pd.DataFrame, columns: Columns, label_map: LabelMap
) -> tuple[list[Row], list[dict[str, str]]]:
    """Usable rows, and the others as mappings with `item` and `reason`.

    Raises:
        ValueError: labels that the map does not know; all of them are named.
    """
    records = table.to_dict("records")
    if columns.labels_column:
        _check_labels(records, columns, label_map)
    rows, skipped, seen = [], [], set()
    for number, record in enumerate(records, start=2):  # as a text editor counts, after the header
        name = record[columns.image_column].strip()
        item = name if _is_file_name(name) else f"row {number}"
        try:
            if not _is_file_name(name):
                raise UnusableRow("the image column " + ("holds no file name" if name else "is empty"))
            if name in seen:
                raise UnusableRow("duplicate: this image stands in an earlier row")
            rows.append(_parse_row(record, name, columns, label_map))
            seen.add(name)
        except (UnusableRow, FilmError) as error:
            skipped.append({"item": item, "reason": f"row {number}: {error}"})
    return rows, skipped


def _is_file_name(cell: str) -> bool:
    """Whether a cell looks like a path, and not like a text, which would be shown in skipped.csv."""
    return len(cell) <= MAX_NAME and re.search(r"\.\w{1,8}$|^\S+$", cell) is not None and "\n" not in cell


def _parse_row(record: Mapping[str, str], name: str, columns: Columns, label_map: LabelMap) -> Row:
    def get(column: str) -> str:
        text = record[column].strip() if column else ""
        return "" if text.lower() in EMPTY else text

    if not get(columns.patient_column):
        raise UnusableRow(f"{columns.patient_column} is empty")
    labels = _split_labels(record, columns)
    codes = label_map.code(labels) if columns.labels_column else _parse_codes(record)
    values = {
        "patient_id": get(columns.patient_column),
        "study_id": get(columns.study_column) or Path(name).stem,
        "view": get(columns.view_column),
        "sex": _parse_sex(get(columns.sex_column)),
        "age": _parse_age(get(columns.age_column)),
        "source": get(columns.source_column) or columns.source_name,
    }
    text = get(columns.report_column)
    if text:
        sections, counts = prepare_report(text, columns.text_preparation)
        if not any(sections):
            raise UnusableRow(columns.text_preparation.nothing_left)
    else:
        labels = [normalise_label(label) for label in labels]
        about = {key: values[key] for key in ("view", "sex", "age")}
        sections, counts = build_report(codes, labels, row_id=name, **about), Counter[str]()
        if sections is None:
            raise UnusableRow("no report, and no label to build one from")
    resolve_inside(columns.images, name)
    return Row(name, values, codes, sections, counts, "table" if codes else "")


def _split_labels(record: Mapping[str, str], columns: Columns) -> list[str]:
    if not columns.labels_column:
        return []
    labels = [label.strip() for label in record[columns.labels_column].split(columns.label_separator)]
    return [label for label in labels if label.lower() not in EMPTY]


def _check_labels(records: Sequence[Mapping[str, str]], columns: Columns, label_map: LabelMap) -> None:
    counts = count_values(
        [label for record in records for label in _split_labels(record, columns) if label not in label_map]
    )
    if counts:
        names = ", ".join(f"{quote_cell(label, MAX_LABEL)} ({counts[label]})" for label in list(counts)[:20])
        raise ValueError(
            f"--labels-column {columns.labels_column}: {len(counts)} label(s) are not among the known ones: "
            f'{names}. Map each to a finding, or to nothing, with --label-map FILE.json ({{"label": null}})'
        )


def _parse_codes(record: Mapping[str, str]) -> Codes:
    codes: Codes = {}
    for finding in FINDINGS:
        text = record.get(finding, "").strip()
        if text.lower() in EMPTY:
            continue
        try:
            code = float(text)
        except ValueError:
            code = None
        if code not in CERTAINTIES:
            raise UnusableRow(f"{finding} holds no certainty (1, 0, -1 or empty)")
        codes[finding] = code
    return codes


def _parse_sex(text: str) -> str:
    return text[:1].upper() if text[:1].upper() in ("F", "M") else ""


def _parse_age(text: str) -> float | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", text.upper())
    if match is None:
        raise UnusableRow("the age is not a number")
    age = float(match[1]) / {"": 1, "Y": 1, "M": 12, "W": 52.18, "D": 365.25}[match[2]]
    if age > MAX_AGE:
        raise UnusableRow(f"the age is over {MAX_AGE:.0f} years")
    return round(age, 2)
