"""Settings of `python -m data_module export`. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Layout = Literal[
    "imagefolder", "webdataset", "parquet", "annotation-json", "chexgenbench", "rexrank", "dicom"
]


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """A pairs folder in a form that others read; `prepare_data.py csv` reads each of them back."""

    data: Path
    """Pairs folder."""
    layout: Layout
    """imagefolder (a folder a split, for `datasets`), webdataset (tar shards), parquet (films inside, as the
    hub holds data sets), annotation-json (R2Gen's annotation.json), chexgenbench (what CheXGenBench's scripts
    read), rexrank (its test files' form), dicom (Secondary Capture films and Basic Text SR reports)."""
    out: Path
    """Folder to write; it must be absent or empty."""
    shard_size: int = 1000
    """Rows of one file of webdataset and parquet."""
    synthetic: Literal["auto", "yes", "no"] = "auto"
    """dicom: whether the films are marked as drawn by a model. auto: those of rows that have a seed."""
    dry_run: bool = False
    """Print the settings and stop."""
