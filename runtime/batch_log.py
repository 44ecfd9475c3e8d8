"""Finished batches of a long job, kept one JSON line each, so that a killed job goes on where it stopped."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from runtime.files import write_atomic


def process_in_batches(
    table: pd.DataFrame,
    batch_size: int,
    log: Path,
    process: Callable[[int, pd.DataFrame], list[Any]],
    unit: str = "item",
) -> list[Any]:
    """One JSON value for each row of the table, in order.

    Args:
        log: file of the finished batches; the caller deletes it once the results are safe.
        process: (first row, rows) -> a JSON value for each of the rows. It always gets `batch_size` rows:
            the last batch repeats its last row, so that a row's shape does not depend on the others.
    """
    done = _read(log)
    with log.open("a") as file, tqdm(total=len(table), initial=len(done), unit=unit) as bar:
        for first, rows in _full_batches(table, batch_size, len(done)):
            results = process(first, rows)[: len(table) - first]
            file.write(json.dumps(results) + "\n")
            file.flush()
            done += results
            bar.update(len(results))
    return done


def log_path(out: Path, facts: Any) -> Path:
    """The log that belongs to `out`, named by everything that decides its content (plain JSON values)."""
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
    return out.with_name(f".{out.name}.{key}.partial")


def _full_batches(table: pd.DataFrame, batch_size: int, start: int) -> Iterator[tuple[int, pd.DataFrame]]:
    for first in range(start, len(table), batch_size):
        places = [min(place, len(table) - 1) for place in range(first, first + batch_size)]
        yield first, table.iloc[places]


def _read(path: Path) -> list[Any]:
    """Results of the finished batches; a batch that was cut in the middle is dropped from the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    write_atomic(path, whole)
    return [result for line in whole.splitlines() for result in json.loads(line)]
