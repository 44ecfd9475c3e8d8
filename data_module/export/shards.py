"""Exports with the films inside: WebDataset's tar shards and Parquet tables, read by plain `datasets`."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_module.exact_table import FLOATS, INTEGERS, as_cells, plain_rows
from data_module.pairs import SPLITS, PairsFolder
from runtime.files import replacing

Rows = list[dict[str, Any]]


def _shards(pairs: PairsFolder, size: int) -> Iterator[tuple[str, int, int, Rows]]:
    """(split, number of the shard, shards of the split, its rows)."""
    for split in SPLITS:
        rows = plain_rows(pairs.table[pairs.table["split"] == split])
        count = -(-len(rows) // size)
        for shard in range(count):
            yield split, shard, count, rows[shard * size : (shard + 1) * size]


def write_webdataset(pairs: PairsFolder, out: Path, shard_size: int) -> None:
    """OUT/SPLIT-000000.tar: for each row KEY.png (or .jpg), KEY.txt (the report) and KEY.json (all columns).

    The values of KEY.json are text, "" where empty: `datasets` settles the types of a shard by its first
    rows, and fails where a number comes after five empty cells.

    Raises:
        ValueError: films of several formats in one split, which would be several columns.
    """
    for split, shard, _, rows in _shards(pairs, shard_size):
        suffixes = {PurePosixPath(row["file_name"]).suffix.lower() for row in rows}
        if len(suffixes) > 1:
            raise ValueError(
                f"--data {pairs.root}: split {split} holds {' and '.join(sorted(suffixes))} films; "
                "`prepare_data.py csv --table FOLDER --image-format png` makes them alike"
            )
        with replacing(out / f"{split}-{shard:06d}.tar") as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                for place, row in enumerate(rows, start=shard * shard_size):
                    film = (pairs.root / row["file_name"]).read_bytes()
                    _add(tar, f"{place:08d}{suffixes.copy().pop()}", film)
                    _add(tar, f"{place:08d}.txt", (row["report"] or "").encode())
                    _add(tar, f"{place:08d}.json", json.dumps(as_cells(row)).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # no time, no owner: the same rows give the same bytes
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def write_parquet(pairs: PairsFolder, out: Path, shard_size: int) -> None:
    """OUT/data/SPLIT-00000-of-00001.parquet, whose column `image` holds each film's own bytes."""
    schema = _schema([str(name) for name in pairs.table.columns])
    for split, shard, count, rows in _shards(pairs, shard_size):
        films = [
            {"bytes": (pairs.root / row["file_name"]).read_bytes(), "path": row["file_name"]} for row in rows
        ]
        table = pa.Table.from_pylist(
            [{"image": film, **row} for film, row in zip(films, rows, strict=True)], schema
        )
        with replacing(out / "data" / f"{split}-{shard:05d}-of-{count:05d}.parquet") as temporary:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, temporary)


def _schema(names: list[str]) -> pa.Schema:
    """The columns with the note by which `datasets` knows an image."""
    import datasets

    kinds = {
        name: "int64" if name in INTEGERS else "float64" if name in FLOATS else "string" for name in names
    }
    features = {name: datasets.Value(kind) for name, kind in kinds.items()}
    return datasets.Features({"image": datasets.Image(), **features}).arrow_schema
