"""What the `csv` source reads: any table by its flags, or a data set's own tables by their layout."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_module.pairs import COLUMNS, PairsFolder, check_table
from data_module.quoting import quote_columns
from data_module.sources.config import TableConfig
from data_module.sources.label_columns import find_label_columns
from data_module.sources.label_map import LabelMap
from data_module.sources.table_layouts import LayoutTable, images_of, read_layout
from data_module.tables import read_table

_PARTS = [field.name for field in dataclasses.fields(TableConfig) if field.name.endswith("_column")]


@dataclasses.dataclass(frozen=True)
class OpenTable:
    """A table, and what its columns are.

    Attributes:
        config: the settings, with the columns that a layout settles.
        label_columns: column -> label, where labels are columns of certainties.
        films: writes films that lie in no files into a folder; None where they lie under config.images.
        helpers: columns that are no data of the table's.
    """

    config: TableConfig
    table: pd.DataFrame
    label_map: LabelMap
    label_columns: Mapping[str, str]
    films: Callable[[Path], None] | None = None
    helpers: tuple[str, ...] = ()

    def as_pairs(self) -> tuple[PairsFolder, Sequence[str]] | None:
        """The rows as a pairs folder's, and the path of each one's film, where they have all its columns."""
        if not set(COLUMNS) <= set(self.table.columns):
            return None
        where = self.config.table
        own = self.table.drop(columns=[name for name in self.helpers if name in self.table])
        own = own.assign(**{name: own[name].replace("", np.nan) for name in COLUMNS})
        pairs = PairsFolder(where if where.is_dir() else where.parent, check_table(own, where))
        return pairs, self.table[self.config.image_column].tolist()


def open_table(config: TableConfig) -> OpenTable:
    """Read --table. Raises ValueError that names the flag, file or column that is wrong."""
    if config.images and not config.images.is_dir():
        raise ValueError(f"--images {config.images}: no such folder")
    if config.layout == "columns":
        table = read_table(config.table, f"--table {config.table}")
        label_map = LabelMap(config.label_map)
        config = dataclasses.replace(config, images=images_of(config))
        if set(COLUMNS) <= set(table.columns) and config.image_column in table:
            own = () if config.image_column in COLUMNS else (config.image_column,)
            return OpenTable(config, table, label_map, {}, helpers=own)
        return OpenTable(config, table, label_map, _find_labels(config, table, label_map))
    layout = read_layout(config)
    label_map = LabelMap(config.label_map, layout.vocabulary)
    settled = _settle(config, layout)
    labels = layout.label_columns
    if layout.vocabulary is None and not labels and not set(COLUMNS) <= set(layout.table.columns):
        labels = _find_labels(settled, layout.table, label_map)
    else:
        _check_columns(settled, layout.table)
    return OpenTable(settled, layout.table, label_map, labels, layout.films, layout.helpers)


def _settle(config: TableConfig, layout: LayoutTable) -> TableConfig:
    """The settings with the layout's columns; a column that a flag names goes before these."""
    columns = {
        flag: name
        for flag, name in layout.columns.items()
        if flag == "image_column" or getattr(config, flag) == getattr(TableConfig, flag)
    }
    if config.source_name == TableConfig.source_name:
        columns["source_name"] = config.layout
    return dataclasses.replace(config, images=images_of(config), **columns)


def _check_columns(config: TableConfig, table: pd.DataFrame) -> None:
    where = f"--table {config.table}"
    for flag in _PARTS:
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
    if "split" in table.columns and not config.split_column:
        print(f"note: {where}: its column split is kept by --split-column split only", file=sys.stderr)


def _find_labels(config: TableConfig, table: pd.DataFrame, label_map: LabelMap) -> dict[str, str]:
    """Those of a table's columns that are labels, once its flags are checked."""
    _check_columns(config, table)
    where = f"--table {config.table}"
    if config.labels_column:
        others = [name for name in table.columns if name in label_map and name != config.labels_column]
        if others:
            print(f"note: {where}: --labels-column goes before {', '.join(others)}", file=sys.stderr)
        return {}
    used = {getattr(config, flag) for flag in _PARTS}
    labels = find_label_columns(table, used, label_map, where, alone=not config.report_column)
    if not (config.report_column or labels):
        raise ValueError(f"{where}: give --labels-column or --report-column; it has {quote_columns(table)}")
    return labels
