"""The `csv` source where --table is a pairs folder's: its films are converted, its table stays as it is.

So a synthetic folder is made larger, or its films smaller, and keeps its prompts, splits and every column.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_module.config import SHARES
from data_module.exact_table import open_exact
from data_module.pairs import METADATA, REQUIRED, PairsFolder, write_pairs
from data_module.quoting import normalize_name
from data_module.sources.config import TableConfig
from data_module.sources.conversion import convert_films
from data_module.sources.film_block import Job
from data_module.sources.films import FilmFormat, name_films
from data_module.sources.output import (
    SCRATCH,
    begin_folder,
    content_settings,
    count_values,
    main_reasons,
    refuse_skipped,
    source_record,
)
from data_module.tables import read_table
from runtime.config import list_defaults
from runtime.files import read_json
from runtime.origins import find_learned

# Flags that name columns -> what a pairs folder calls these.
OWN_NAMES = {
    "image_column": "file_name",
    "patient_column": "patient_id",
    "report_column": "report",
    "prompt_column": "prompt",
    "split_column": "split",
    "view_column": "view",
    "sex_column": "sex",
    "age_column": "age",
    "study_column": "study_id",
    "source_column": "source",
}
# What would change a table -> its default.
_CHANGES: dict[str, Any] = {"split_shares": SHARES, "blanks": "keep", "remove_priors": False, "views": ()}


def find_pairs(config: TableConfig) -> PairsFolder | None:
    """The pairs folder whose table --table is; None where it is none, or where a flag reads it otherwise.

    Raises:
        ValueError: it breaks the contract, or --table is a folder of something else.
    """
    others = config.layout != "columns" or config.labels_column or config.label_map
    defaults = {"image_column": TableConfig.image_column, "patient_column": TableConfig.patient_column}
    for flag, own in OWN_NAMES.items():
        others = others or getattr(config, flag) not in ("", own, defaults.get(flag))
    if others:
        return None
    if config.table.is_dir():
        root = config.table
    elif config.table.name in METADATA and config.table.is_file() and set(REQUIRED) <= _header(config.table):
        root = config.table.parent
    else:
        return None
    return open_exact(root)


def _header(path: Path) -> set[str]:
    names = pq.read_schema(path).names if path.suffix == ".parquet" else read_table(path, f"--table {path}")
    return {normalize_name(str(name)).replace(" ", "_") for name in names}


def convert_pairs(
    config: TableConfig,
    pairs: PairsFolder,
    sources: Sequence[str],
    films: Callable[[Path], None] | None = None,
) -> PairsFolder | None:
    """Write `pairs` with films of the config's size and format; None while other shards are missing.

    Args:
        sources: path of each row's film under --images, or in the folder that `films` writes.
        films: writes films that lie in no files into a folder.

    Raises:
        ValueError: a flag that would change the table, or no film that can be used.
    """
    for name, default in _CHANGES.items():
        if getattr(config, name) != default:
            raise ValueError(
                f"--table {config.table} is a pairs folder, whose table is kept: leave out "
                f"--{name.replace('_', '-')}, or make the folder anew from its source"
            )
    if not pairs.has_films:
        raise ValueError(f"--table {config.table} is a pairs folder with no films: nothing to convert")
    settings = {
        "kind": "pairs",
        **content_settings(config),
        "table_hash": _digest(config, pairs, sources, films),
    }
    if begin_folder(config.out, settings, config.overwrite, list_defaults(config)):
        print(f"{config.out}: already done")
        return PairsFolder.open(config.out)
    before = pairs.table["file_name"].tolist()
    names, root = name_again(before, config.film_format), config.images or pairs.root
    if films:
        root = config.out / SCRATCH
        films(root)

    def jobs(numbers: range) -> list[Job]:
        return [Job(str(root), sources[number], names[number]) for number in numbers]

    failed = convert_films(config, jobs, len(sources))
    if failed is None:
        return None
    skipped = [{"item": before[film], "reason": why} for film, why in failed.items()]
    refuse_skipped(skipped, config.strict)
    kept = pairs.table.assign(file_name=names).drop(index=list(failed)).reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"--table {config.table}: no film can be used; {main_reasons(skipped)}")
    made_from = pairs.root / "provenance.json"
    provenance = {
        **source_record("csv", config),
        "num_patients": int(kept["patient_id"].nunique()),
        "splits": count_values(kept["split"].tolist()),
        "learned_from": find_learned(pairs.root),
        "made_from": read_json(made_from) if made_from.is_file() else None,
    }
    shutil.rmtree(config.out / SCRATCH, ignore_errors=True)
    return write_pairs(config.out, kept, provenance, _card(config, pairs.root), skipped)


def _digest(
    config: TableConfig, pairs: PairsFolder, sources: Sequence[str], films: Callable[[Path], None] | None
) -> str:
    """Short hash of the rows, and of the sizes of the files that hold the films."""
    root = config.images or pairs.root
    files = sorted(config.table.rglob("*")) if films else [root / name for name in sources]
    sizes = [path.stat().st_size if path.is_file() else -1 for path in files]
    return hashlib.sha256((pairs.table.to_csv(index=False) + str(sizes)).encode()).hexdigest()[:16]


def name_again(names: Sequence[str], film: FilmFormat) -> list[str]:
    """File names of a pairs folder with the suffix of `film`; else as they were, where they may be."""
    return name_films([name.removeprefix("images/") for name in names], film.image_format)


def _card(config: TableConfig, root: Path) -> str:
    own = root / "README.md"
    before = own.read_text() if own.is_file() else ""
    if before.startswith("---\n"):
        before = before.split("---\n", 2)[-1]
    size = f"{config.size} x {config.size}, {config.resize}"
    return f"""Films made anew by `prepare_data.py csv` from a pairs folder, whose table is kept: {size}.
What that folder's card says:

{before.strip() or "Nothing: it has none. Not for clinical use."}
"""
