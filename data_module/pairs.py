"""The pairs folder: what every source becomes, training reads, sampling writes and evaluation scores.

    FOLDER/metadata.csv  images/  provenance.json  README.md  skipped.csv

It is a Hugging Face `imagefolder`: `load_dataset(FOLDER, SPLIT)` reads it unchanged, split by split.
Past 100,000 rows the table is metadata.parquet, with the same columns. A text-only folder (reports without
films, for the language modules) leaves file_name empty in every row.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from data_module.card import card_head
from data_module.findings import CERTAINTIES, FINDINGS, label_array
from data_module.quoting import normalize_name, quote_cell, quote_columns, quote_name
from data_module.tables import check_rows, read_text
from runtime.files import file_hash, replacing, write_atomic
from runtime.origins import GENERATED, list_origins, name_origin, resolve_origins

TEXT_COLUMNS = ("file_name", "report", "findings_section", "impression_section", "patient_id", "study_id")
COLUMNS: tuple[str, ...] = (
    *TEXT_COLUMNS,
    "view",
    "split",
    "sex",
    "age",
    *FINDINGS,
    "prompt",
    "reference",
    "seed",
    "source",
)
_NUMBERS = (*FINDINGS, "age", "seed")  # columns of numbers; the others hold text
SPLITS = ("train", "validation", "test")
REQUIRED = ("file_name", "report", "patient_id", "split")
METADATA = ("metadata.csv", "metadata.parquet")
MAX_CSV_ROWS = 100_000


@dataclass(frozen=True)
class PairsFolder:
    """A pairs folder, opened and checked. `table` has every column of COLUMNS, one row a film."""

    root: Path
    table: pd.DataFrame

    @classmethod
    def open(cls, root: str | Path) -> "PairsFolder":
        """Read and check a pairs folder.

        Raises:
            ValueError: names the folder or column that is wrong, and what to do.
        """
        root = Path(root)
        path = next((root / name for name in METADATA if (root / name).is_file()), None)
        if path is None:
            raise ValueError(
                f"{root} is not a pairs folder: it has no metadata.csv. Make one with prepare_data.py."
            )
        return cls(root, check_table(_read_table(path), path))

    def __len__(self) -> int:
        return len(self.table)

    def split(self, name: str) -> "PairsFolder":
        """The rows of one split ("train", "validation" or "test"), renumbered from 0; see `split_rows`."""
        return PairsFolder(self.root, self.table.iloc[self.split_rows(name)].reset_index(drop=True))

    def split_rows(self, name: str) -> np.ndarray:
        """Places (M,) in the table of the rows of one split.

        Raises:
            ValueError: there is no such split, or no row of it.
        """
        if name not in SPLITS:
            raise ValueError(f"split {name!r}: choose one of {', '.join(SPLITS)}")
        rows = np.flatnonzero((self.table["split"] == name).to_numpy())
        if not len(rows):
            counts = self.table["split"].value_counts().to_dict()
            raise ValueError(f"{self.root} has no row of split {name!r} (it has {counts})")
        return rows

    @property
    def labels(self) -> np.ndarray:
        """(N, 14) float32 in the order of FINDINGS: 1, 0, -1 or NaN."""
        return label_array(self.table)

    @property
    def has_films(self) -> bool:
        """False for a text-only folder."""
        return bool(self.table["file_name"].notna().any())

    @cached_property  # asked for film by film, it must not go through all rows each time
    def image_paths(self) -> list[Path]:
        """Path of each row's film. Raises ValueError for a text-only folder."""
        if not self.has_films:
            raise ValueError(f"{self.root} is a text-only pairs folder: it has reports but no films")
        return [self.root / name for name in self.table["file_name"]]

    def manifest_hash(self) -> str:
        """Short hash of the rows and of the films' sizes on disk: changes when the data does."""
        digest = hashlib.sha256(self.table.to_csv(index=False).encode())
        if self.has_films:
            try:
                sizes = " ".join(str(path.stat().st_size) for path in self.image_paths)
            except FileNotFoundError as error:
                raise ValueError(
                    f"{error.filename} is named in {self.root}'s metadata but is not there"
                ) from None
            digest.update(sizes.encode())
        return digest.hexdigest()[:16]


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return _read_parquet(path)
    text = read_text(path, str(path))
    check_rows(text, str(path))  # pandas fills rows that are too short, and shifts those that are too long
    types = {name: str for name in COLUMNS if name not in _NUMBERS}
    empty = {name: [""] for name in COLUMNS}
    try:
        return pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False, na_values=empty)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a table ({type(error).__name__})") from None


def _read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet table, whose columns of text may hold numbers: ids, say."""
    try:
        table = pd.read_parquet(path)
    except (ValueError, TypeError, KeyError, OSError, MemoryError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read as a Parquet table ({type(error).__name__})") from None
    for name in (name for name in table.columns if name in COLUMNS and name not in _NUMBERS):
        column = table[name]
        if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
            column = column.astype("Int64")  # whole numbers beside empty cells
        filled = column.dropna()
        if not filled.map(lambda cell: isinstance(cell, str | int | float | np.number)).all():
            raise ValueError(f"{path}: column {name} holds something else than text")
        table[name] = column.astype(object).map(str, na_action="ignore").astype(object)
    return table


def refuse_contract_name(path: Path, flag: str) -> None:
    """Raise ValueError where a file to be written is one of a pairs folder's own."""
    own = (*METADATA, "skipped.csv", "provenance.json", "prepare.json", "README.md")
    if path.name in own and any((path.parent / name).is_file() for name in METADATA):
        raise ValueError(f"{flag} {path} is a file of the pairs folder {path.parent}: give another name")


def check_table(table: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """The table, COLUMNS in order; ValueError where it breaks the contract (`path` goes in the message)."""
    table = _spell_columns(table, path)
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise ValueError(f"{path}: column(s) {', '.join(missing)} missing; it has {quote_columns(table)}")
    if table.empty:
        raise ValueError(f"{path} has no rows")
    text_only = bool((table["file_name"].isna() | (table["file_name"] == "")).all())
    if text_only:
        table = table.assign(file_name=pd.Series(np.nan, index=table.index, dtype=object))
    # A film without a report is a row (of a films-only folder, say); a row without either is not.
    table = table.assign(report=table["report"].fillna("") if not text_only else table["report"])
    for name in ("report" if text_only else "file_name", "patient_id", "split"):
        empty = table[name].isna() | (table[name] == "")
        if empty.any():
            row = int(np.flatnonzero(empty)[0])
            raise ValueError(f"{path}: {name} is empty in row {row + 2}")
    if not text_only:
        _check_file_names(table["file_name"], path)
    bad = sorted(set(table["split"]) - set(SPLITS))
    if bad:
        raise ValueError(f"{path}: split {quote_cell(bad[0])} is not one of {', '.join(SPLITS)}")
    absent = [name for name in COLUMNS if name not in table and name not in _NUMBERS]
    table = table.reindex(columns=[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)])
    table[absent] = table[absent].astype(object)  # columns of text, though without one
    for name in FINDINGS:
        codes = pd.to_numeric(table[name], errors="coerce")
        wrong = (codes.isna() & table[name].notna()) | ~(codes.isna() | codes.isin(CERTAINTIES))
        if wrong.any():
            value = quote_cell(table.loc[wrong, name].iloc[0])
            raise ValueError(f"{path}: {name} holds {value}; a certainty is 1, 0, -1 or empty")
        table[name] = codes
    for name in ("age", "seed"):
        numbers = pd.to_numeric(table[name], errors="coerce")
        if (numbers.isna() & table[name].notna()).any():
            value = quote_cell(table.loc[numbers.isna() & table[name].notna(), name].iloc[0])
            raise ValueError(f"{path}: {name} holds {value}, which is not a number")
        table[name] = numbers
    return table


def _spell_columns(table: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """The table with its columns spelled as the contract has them: "Pleural effusion" is no other column."""
    proper = {normalize_name(name): name for name in COLUMNS}
    spelled = [proper.get(normalize_name(str(name)), name) for name in table.columns]
    twice = next((name for name in spelled if name in COLUMNS and spelled.count(name) > 1), None)
    if twice:
        raise ValueError(f"{path}: two columns are a {twice!r}; rename or remove one")
    return table.set_axis(spelled, axis="columns")


def _check_file_names(names: pd.Series, path: str | Path) -> None:
    twice = names[names.duplicated()]
    if len(twice):
        raise ValueError(f"{path}: file_name {quote_name(twice.iloc[0])} stands in more than one row")
    # A folder may come from a stranger: its rows must not reach files outside it.
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{path}: file_name {quote_name(name)} points outside the folder")


def write_pairs(
    root: str | Path,
    rows: Iterable[Mapping[str, Any]] | pd.DataFrame,
    provenance: Mapping[str, Any],
    card: str,
    skipped: Iterable[Mapping[str, str]] = (),
) -> PairsFolder:
    """Write metadata.csv, provenance.json, README.md and skipped.csv beside images that are already there.

    Args:
        root: folder whose images/ holds every file that `rows` names (none: a text-only folder).
        rows: one mapping a film, keys from COLUMNS (missing ones stay empty).
        provenance: `provenance_record(...)` plus the source's own counts.
        card: Markdown of the data-set card.
        skipped: mappings with `item` and `reason`, one for each row that could not be used.
    """
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    write_pairs_in_pieces(root, [table], len(table), provenance, card, skipped)
    return PairsFolder.open(root)


def write_pairs_in_pieces(
    root: str | Path,
    pieces: Iterable[pd.DataFrame],
    num_rows: int,
    provenance: Mapping[str, Any],
    card: str,
    skipped: Iterable[Mapping[str, str]] = (),
) -> None:
    """As `write_pairs`, for a table that need not fit into memory: one piece of it is held at a time.

    Args:
        pieces: consecutive rows of the table, `num_rows` in all, with the same columns in each. The caller
            answers for file names that are distinct over all pieces.
    """
    root = Path(root)
    csv = num_rows <= MAX_CSV_ROWS
    path = root / METADATA[not csv]
    filmed: set[str] = set()  # splits with films
    sources: Counter[str] = Counter()

    def check() -> Iterator[pd.DataFrame]:
        for piece in pieces:
            stored = _as_stored(piece, path)
            filmed.update(stored["split"][stored["file_name"].notna()])
            sources.update(stored["source"].map(name_origin))
            yield stored

    # The table takes its place last, since a folder with metadata is a finished folder.
    with replacing(path) as temporary:
        written = (_write_csv if csv else _write_parquet)(check(), temporary)
        assert written == num_rows, f"{written} rows came, {num_rows} were announced"
        lost = pd.DataFrame(list(skipped), columns=["item", "reason"])
        record = {**provenance, "num_rows": num_rows, "num_skipped": len(lost)}
        record["table_hash"] = file_hash(temporary)[:16]
        skipped_rows = lost.to_csv(index=False)
        record["skipped_hash"] = hashlib.sha256(skipped_rows.encode()).hexdigest()[:16]
        record["origins"] = dict(sources.most_common())
        if GENERATED in sources:
            record.setdefault("learned_from", list_origins(provenance.get("config") or {}))
        else:
            record.pop("learned_from", None)
        write_atomic(root / "skipped.csv", skipped_rows)
        write_atomic(root / "provenance.json", json.dumps(record, indent=2, default=str) + "\n")
        splits = [name for name in SPLITS if name in filmed]
        licensed = resolve_origins(sources, record.get("learned_from"))
        head = card_head(path.name, splits, licensed, bool({GENERATED, "demo"} & {*sources}))
        write_atomic(root / "README.md", head + card)
    (root / METADATA[csv]).unlink(missing_ok=True)


def film_paths(folder: PairsFolder) -> list[Path | None]:
    """Path of each row's film, None for a row without one."""
    names = folder.table["file_name"]
    return [None if pd.isna(name) or not name else folder.root / name for name in names]


def hash_folder(folder: PairsFolder) -> str:
    """Short hash of the rows and the films' sizes; unlike `manifest_hash`, a missing film is no error."""
    sizes = [path.stat().st_size if path and path.is_file() else -1 for path in film_paths(folder)]
    return hashlib.sha256((folder.table.to_csv(index=False) + str(sizes)).encode()).hexdigest()[:16]


def _as_stored(piece: pd.DataFrame, path: Path) -> pd.DataFrame:
    table = check_table(piece, path)
    for name in FINDINGS:
        table[name] = table[name].astype("Int64")
    return table


def _write_csv(pieces: Iterable[pd.DataFrame], path: Path) -> int:
    num_rows = 0
    for piece in pieces:
        path.parent.mkdir(parents=True, exist_ok=True)
        piece.to_csv(path, index=False, mode="a" if num_rows else "w", header=not num_rows)
        num_rows += len(piece)
    return num_rows


def _write_parquet(pieces: Iterable[pd.DataFrame], path: Path) -> int:
    numbers = {**dict.fromkeys(FINDINGS, pa.int64()), "age": pa.float64(), "seed": pa.float64()}
    writer, num_rows = None, 0
    try:
        for piece in pieces:
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                # Given and not inferred: a column that is empty in one piece may hold text in the next.
                fields = [(name, numbers.get(name, pa.string())) for name in piece.columns]
                writer = pq.ParquetWriter(path, pa.schema(fields))
            piece = piece.astype({name: object for name in piece.columns if name not in numbers})
            writer.write_table(pa.Table.from_pandas(piece, schema=writer.schema, preserve_index=False))
            num_rows += len(piece)
    finally:
        if writer is not None:
            writer.close()
    return num_rows
