"""The `csv` source, row by row: text, labels, age and sex as they stand in tables -> checked values."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from data_module.decoding import FilmError
from data_module.findings import POSITIVE, settle_no_finding
from data_module.sections import Sections, prepare_report
from data_module.sources.built_report import build_report
from data_module.sources.config import TableConfig
from data_module.sources.films import resolve_inside
from data_module.sources.label_columns import read_codes
from data_module.sources.label_map import Codes, LabelMap, label_key, quote_label
from data_module.sources.output import count_values
from data_module.sources.patient_fields import EMPTY, SexColumn, read_age

MAX_NAME = 500  # characters of a path
_MAX_UNKNOWN = 20  # labels that a message names
_FILM_NAME = re.compile(
    r"[^\n]*\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|gif|webp|ima|nii|npy)(?:\.gz)?|\S+", re.IGNORECASE
)


@dataclass
class Row:
    """One usable row, on its way to the pairs folder."""

    item: str
    values: dict[str, Any]
    codes: Codes
    sections: Sections
    text_counts: Counter[str]  # of `prepare_report`; empty where the sections were built from the labels
    labels_from: str = ""  # table, rule labeler, or both; "" where there are none
    contradicted: bool = False  # its labels said No Finding beside a finding
    unclear: tuple[str, ...] = ()  # "sex", "age": cells that say nothing

    @property
    def has_text(self) -> bool:
        return bool(self.text_counts)


class UnusableRow(ValueError):
    """Why a row cannot be used."""


class OtherView(UnusableRow):
    """A row of a view that is not asked for."""


class RowParser:
    """Rows of one table -> `Row`.

    Args:
        label_columns: column -> label, for a table whose labels are columns.

    Attributes:
        left_out: rows of other views, as `skipped` has them.
        without_finding: label that has no place among the 14 findings -> number of rows that say it.

    Raises:
        ValueError: labels that the map does not know; all of them are named.
    """

    def __init__(
        self, table: pd.DataFrame, columns: TableConfig, label_map: LabelMap, label_columns: Mapping[str, str]
    ) -> None:
        self.columns, self.label_map, self.label_columns = columns, label_map, label_columns
        self.records: list[dict[str, str]] = [
            dict(zip(table.columns, row, strict=True)) for row in table.to_numpy()
        ]
        self.sexes = SexColumn(table[columns.sex_column] if columns.sex_column else ())
        self.left_out: list[dict[str, str]] = []
        self.without_finding: Counter[str] = Counter()
        if columns.labels_column:
            self._check_labels()

    def parse(self) -> tuple[list[Row], list[dict[str, str]]]:
        """Usable rows, and the others as mappings with `item` and `reason`."""
        rows, skipped, seen = [], [], set()
        for number, record in enumerate(self.records, start=2):  # as a spreadsheet counts, after the header
            name = record[self.columns.image_column].strip()
            item = name if _is_film_name(name) else f"row {number}"
            try:
                if not _is_film_name(name):
                    raise UnusableRow("the image column " + ("holds no file name" if name else "is empty"))
                if name in seen:
                    raise UnusableRow("duplicate: this image stands in an earlier row")
                rows.append(self._parse_row(record, name))
                seen.add(name)
            except OtherView as error:
                self.left_out.append({"item": item, "reason": str(error)})
            except (UnusableRow, FilmError) as error:
                skipped.append({"item": item, "reason": f"row {number}: {error}"})
        return rows, skipped

    def _parse_row(self, record: Mapping[str, str], name: str) -> Row:
        def get(column: str) -> str:
            text = record[column].strip() if column else ""
            return "" if text.lower() in EMPTY else text

        columns = self.columns
        if not get(columns.patient_column):
            raise UnusableRow(f"{columns.patient_column} is empty")
        view = get(columns.view_column)
        if columns.views and view not in columns.views:
            raise OtherView("left out: its view is not in --views")
        labels = self._read_labels(record)
        positive = [label for label, code in labels.items() if code == POSITIVE]
        self.without_finding.update(label for label in positive if not self.label_map.has_finding(label))
        said = self.label_map.code_certainties(labels)
        codes = settle_no_finding(said)
        sex, age = get(columns.sex_column), get(columns.age_column)
        values: dict[str, Any] = {
            "patient_id": get(columns.patient_column),
            "study_id": get(columns.study_column) or Path(name).stem,
            "view": view,
            "sex": self.sexes.read(sex),
            "age": read_age(age),
            "source": get(columns.source_column) or columns.source_name,
            "split": get(columns.split_column).lower(),
            "prompt": get(columns.prompt_column),
        }
        unclear = [
            field for field, cell in (("sex", sex), ("age", age)) if cell and values[field] in ("", None)
        ]
        text = get(columns.report_column)
        if text:
            sections, counts = prepare_report(text, columns.text_preparation)
            if not any(sections):
                raise UnusableRow(columns.text_preparation.nothing_left)
        else:
            present = [label_key(label) for label in positive]
            about = {key: values[key] for key in ("view", "sex", "age")}
            sections, counts = build_report(codes, present, row_id=name, **about), Counter[str]()
            if sections is None:
                raise UnusableRow("no report, and no label to build one from")
        resolve_inside(columns.images or Path("."), name)
        labels_from = "table" if codes else ""
        return Row(name, values, codes, sections, counts, labels_from, said != codes, tuple(unclear))

    def _read_labels(self, record: Mapping[str, str]) -> dict[str, float]:
        """Label -> certainty of one row."""
        if self.columns.labels_column:
            return dict.fromkeys(self._split_labels(record), POSITIVE)
        try:
            return read_codes(record, self.label_columns)
        except ValueError as error:
            raise UnusableRow(error) from None

    def _split_labels(self, record: Mapping[str, str]) -> list[str]:
        cell = record[self.columns.labels_column]
        labels = [label.strip() for label in cell.split(self.columns.label_separator)]
        return [label for label in labels if label.lower() not in EMPTY]

    def _check_labels(self) -> None:
        labels = [label for record in self.records for label in self._split_labels(record)]
        counts = count_values([label for label in labels if label not in self.label_map])
        if not counts:
            return
        flag = f"--labels-column {self.columns.labels_column}: {len(counts)} label(s)"
        if len(counts) > max(_MAX_UNKNOWN, len(self.records) // 2):  # names or ids, say
            raise ValueError(
                f"{flag} of {len(self.records)} rows are not known: is it a column of labels, "
                f"joined by {self.columns.label_separator!r} (--label-separator)?"
            )
        names = ", ".join(f"{quote_label(label)} ({counts[label]})" for label in list(counts)[:_MAX_UNKNOWN])
        raise ValueError(
            f"{flag} are not among the known ones: {names}. Map each to a finding, or to nothing, with "
            '--label-map FILE.json ({"label": null})'
        )


def _is_film_name(cell: str) -> bool:
    """Whether a cell looks like a path, and not like a text, which would be shown in skipped.csv."""
    return len(cell) <= MAX_NAME and _FILM_NAME.fullmatch(cell) is not None
