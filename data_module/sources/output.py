"""The folder a source writes: its common settings, begun once, resumed, never overwritten by chance."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

from data_module.pairs import METADATA
from data_module.sections import TextPreparation
from data_module.sources.films import FilmFormat, default_num_workers
from data_module.splits import SHARES, check_shares
from runtime.config import list_passing, setting
from runtime.files import file_hash, read_json, remove_leftovers, write_atomic
from runtime.locks import is_unused
from runtime.provenance import provenance_record

PARTS = ".parts"  # outcomes of the finished blocks of films
LIST_NAME = "mimic-cxr-list-filtered.csv"  # of the mimic-cxr source
SETTINGS = "prepare.json"  # what the folder is made with, written first


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What every source of films has in common."""

    out: Path = setting(identity=False)
    """Pairs folder to write."""
    size: int = 256
    """Pixels a side of the written films."""
    resize: str = "fit-crop"
    """fit-crop (central square), pad (black bars) or squash (the paper's; proportions change)."""
    image_format: str = "png"
    """png (exact) or jpeg (quality 95)."""
    window: str = "voi"
    """Window of DICOM films: voi (the file's own), percentile (0.5 to 99.5) or minmax (MIMIC-CXR-JPG's)."""
    colour: str = "convert"
    """Films stored in colour: convert to luminance, or refuse."""
    equalize: bool = False
    """Equalise histograms, as MIMIC-CXR-JPG was made (its JPEG films are equalised already)."""
    blanks: Literal["keep", "remove", "drop-sentence"] = "keep"
    """De-identification blanks of reports (___, XXXX): kept, removed, or their sentence dropped."""
    remove_priors: bool = False
    """Remove what reports say of earlier films ("unchanged", "compared to prior")."""
    seed: int = 0
    """Seed of a split that the data set does not give."""
    split_shares: tuple[float, float, float] = SHARES
    """Shares of patients in its train, validation and test rows. CXRGenAI keeps 20% for the test: 0.7 0.1
    0.2, and --folds in training takes turns over the other 80%."""
    strict: bool = setting(False, identity=False)
    """Any report or film that cannot be used is an error."""
    overwrite: bool = setting(False, identity=False)
    """Replace an --out that was made with other settings."""
    dry_run: bool = setting(False, identity=False)
    """Say what would be made, and stop."""
    num_workers: Annotated[int, tyro.conf.arg(aliases=("--workers",))] = setting(
        identity=False, default_factory=default_num_workers
    )
    """Processes that decode films; changes nothing in the result."""
    shard: str = setting("0/1", identity=False)
    """i/n makes part i of n, on machines that share --out or whose folders `merge` joins afterwards."""

    def __post_init__(self) -> None:
        check_shares(self.split_shares)

    @property
    def text_preparation(self) -> TextPreparation:
        """What is done to reports."""
        return TextPreparation(self.blanks, self.remove_priors)

    @property
    def film_format(self) -> FilmFormat:
        """How films are written. Raises ValueError for a wrong flag."""
        return FilmFormat(self.size, self.resize, self.image_format, self.window, self.colour, self.equalize)


def begin_folder(out: str | Path, settings: Mapping[str, Any], overwrite: bool) -> bool:
    """Make or re-enter an output folder; True where it is finished and nothing is left to do.

    Args:
        settings: all that decides the content, as plain values.
        overwrite: empty a folder that prepare_data.py made with other settings.

    Raises:
        ValueError: the folder holds something else, or was made with other settings.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; give a folder")
    settings = json.loads(json.dumps(settings, default=str))
    record = out / SETTINGS
    if record.is_file():
        before = read_settings(record)
        if before == settings:
            return _is_finished(out)
        if not overwrite:
            names = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
            raise ValueError(
                f"--out {out} was made with other settings ({', '.join(names)}); "
                "give another folder, or --overwrite to replace it"
            )
        _empty(out)
    elif out.is_dir() and not is_unused(out):
        # Whatever it holds, it is not ours to delete, with or without --overwrite.
        raise ValueError(f"--out {out} is not empty and was not made by prepare_data.py; give another folder")
    write_atomic(record, json.dumps(settings, indent=2) + "\n")
    return False


def read_settings(record: Path) -> dict[str, Any]:
    """The settings in a folder's prepare.json. Raises ValueError where it is damaged."""
    return read_json(record, "give another --out")


def _is_finished(out: Path) -> bool:
    """Whether the table and every film it names are there; else the folder is to be made, or mended.

    Raises:
        ValueError: the table is not as it was written: it may have been edited, so it is not overwritten.
    """
    path = next((out / name for name in METADATA if (out / name).is_file()), None)
    if path is None:
        return False
    record = out / "provenance.json"
    written = read_json(record).get("table_hash") if record.is_file() else None
    if written and written != file_hash(path)[: len(written)]:
        raise ValueError(f"{path} has changed since it was made: delete it, and the same command mends it")
    columns = {"columns" if path.suffix == ".parquet" else "usecols": ["file_name"]}
    names = (pd.read_parquet if path.suffix == ".parquet" else pd.read_csv)(path, **columns)
    films = [out / str(name) for name in names["file_name"].dropna()]
    return all(film.is_file() and film.stat().st_size for film in films)


def forget_outcomes(out: Path) -> None:
    """Let a folder count as unfinished, so that what failed is tried again. Its films are kept."""
    for name in METADATA:
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _empty(out: Path) -> None:
    # The table first: a folder without it is an unfinished one, should this be interrupted.
    for name in (*METADATA, "provenance.json", "README.md", "skipped.csv", LIST_NAME):
        (out / name).unlink(missing_ok=True)
    for name in ("images", PARTS):
        shutil.rmtree(out / name, ignore_errors=True)


def remove_rests(out: Path) -> None:
    """Delete films that killed runs left half written, once all films are there."""
    remove_leftovers(out / "images", "**/.*.tmp")


def plain_config(config: Any) -> dict[str, Any]:
    """A source's dataclass as plain values."""
    fields = dataclasses.asdict(config).items()
    return {name: str(value) if isinstance(value, Path) else value for name, value in fields}


def content_settings(config: Any) -> dict[str, Any]:
    """The settings that decide a folder's content, and of a path the name only, so that a folder is the same
    on every machine."""
    passing = set(list_passing(config))
    settings = {
        name: value.name if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(config).items()
        if name not in passing
    }
    if settings.get("split_shares") == SHARES:  # folders from before this setting have these
        del settings["split_shares"]
    return settings


def source_record(kind: str, config: Any) -> dict[str, Any]:
    """Provenance of a source: the command as far as it decides the content, config, commit, versions."""
    settings = content_settings(config)
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    flags = []
    for name, value in settings.items():
        if value != defaults[name] and value not in (None, ""):
            values = value if isinstance(value, list | tuple) else [] if value is True else [value]
            flags += [f"--{name.replace('_', '-')}", *(repr(v) if v == "" else str(v) for v in values)]
    command = " ".join(["prepare_data.py", kind, *flags])
    return {**provenance_record(settings), "command": command}


def refuse_skipped(skipped: Sequence[Mapping[str, str]], strict: bool) -> None:
    """With `--strict` any row that cannot be used is an error, which names the first three."""
    if strict and skipped:
        first = "; ".join(f"{row['item']}: {row['reason']}" for row in skipped[:3])
        raise ValueError(f"--strict: {len(skipped)} row(s) cannot be used: {first}")


def hash_file(path: str | Path, flag: str) -> str:
    """Short hash of a file's content. Raises ValueError that names the flag where it cannot be read."""
    try:
        return file_hash(path)[:16]
    except OSError as error:
        raise ValueError(f"{flag} {path}: cannot be read ({error.strerror})") from None


def count_values(values: Sequence[str]) -> dict[str, int]:
    """Value -> number of times, the most frequent first."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
