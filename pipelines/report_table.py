"""Rows of films, or of reports, -> the table of generated reports; a killed job goes on where it stopped."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data_module.pairs import PairsFolder
from pipelines.config import ReportTableConfig
from pipelines.report_rows import Process, read_films, reconstruct
from pipelines.report_writer import open_codec, open_report_writer
from runtime.batch_log import log_path, process_in_batches
from runtime.config import to_dict
from runtime.devices import pick_device
from runtime.files import write_atomic
from runtime.generators import make_generator


@torch.no_grad()
def write_reports(config: ReportTableConfig) -> None:
    """Write the table, or print the report of a single film.

    Raises:
        ValueError: names the flag, folder or film that is wrong.
    """
    if config.batch_size < 1:
        raise ValueError(f"--batch-size {config.batch_size}: must be at least 1")
    if not config.image and config.out.exists() and not config.overwrite:
        raise ValueError(f"--out {config.out} is there already: name another file or use --overwrite")
    table = list_rows(config)
    process, identity = open_process(config)
    if config.image:
        (result,) = process(table, draw_generators(config, range(1)))
        if result.skipped:
            raise ValueError(result.skipped)
        if result.warning:
            print(f"warning: {config.image}: {result.warning}", file=sys.stderr)
        print(result.report)
        return

    def process_batch(first: int, rows: pd.DataFrame) -> list[Sequence[str]]:
        return process(rows, draw_generators(config, range(first, first + len(rows))))

    log = log_path(config.out, describe_job(config, table, identity))
    results = process_in_batches(table, config.batch_size, log, process_batch, unit="report")
    write_results(config.out, table, pd.DataFrame(results, columns=["report", "warning", "skipped"]))
    log.unlink()


def open_process(config: ReportTableConfig) -> tuple[Process, list[str]]:
    """Rows -> results, through --model or, with --reconstruct, the codec alone; hashes of the weights."""
    if config.reconstruct:
        codec = open_codec(config.writer.language or "runs/demo/bart")
        return partial(reconstruct, codec, config.decoding), [codec.fingerprint()]
    writer = open_report_writer(config.writer, config.data)
    return partial(read_films, writer, config.decoding), writer.identity


def list_rows(config: ReportTableConfig) -> pd.DataFrame:
    """What is asked for: study_id, file_name, path and (with --data) report of each row."""
    if config.image or config.images:
        if config.images and not config.images.is_dir():
            raise ValueError(f"--images {config.images}: no such folder")
        root = config.images or config.image.parent
        found = [config.image] if config.image else sorted(p for p in root.rglob("*") if not p.is_dir())
        paths = [path for path in found if config.image or not path.name.startswith(".")]
        names = [path.relative_to(root).as_posix() for path in paths]
        table = pd.DataFrame({"study_id": [path.stem for path in paths], "file_name": names, "path": paths})
    else:
        pairs = PairsFolder.open(config.data).split(config.split)
        if not (config.reconstruct or pairs.has_films):
            raise ValueError(f"--data {config.data} has rows with no film: only --reconstruct reads it")
        table = pairs.table.reindex(columns=["study_id", "file_name", "report"]).reset_index(drop=True)
        table["path"] = [config.data / str(name) for name in table["file_name"]]
    table = table.head(config.max_films) if config.max_films else table
    if not len(table):
        raise ValueError(f"{config.images or config.data} holds nothing to read")
    return table


def draw_generators(config: ReportTableConfig, places: range) -> list[torch.Generator] | None:
    """One generator a row, where reports are sampled."""
    if config.decoding.method != "sample":
        return None
    return [make_generator(config.seed, place, device=pick_device()) for place in places]


def describe_job(config: ReportTableConfig, table: pd.DataFrame, identity: list[str]) -> dict[str, object]:
    """Everything that decides the reports."""
    return {
        "config": to_dict(dataclasses.replace(config, overwrite=False)),
        "models": identity,
        "rows": table.drop(columns="path").to_csv(index=False),
        "sizes": [path.stat().st_size if path.is_file() else -1 for path in table["path"]],
    }


def write_results(out: Path, table: pd.DataFrame, results: pd.DataFrame) -> None:
    """The table of reports, and skipped.csv beside it where something could not be read."""
    columns = pd.concat([table[["study_id", "file_name"]], results], axis=1)
    failed = (columns["skipped"] != "").to_numpy()
    skipped = out.with_name("skipped.csv")
    if failed.any():
        names = columns["file_name"].fillna("").astype(str)
        item = np.where(names == "", columns["study_id"].astype(str), names)
        reasons = pd.DataFrame({"item": item, "reason": columns["skipped"]})[failed]
        write_atomic(skipped, reasons.to_csv(index=False))
        print(f"{skipped}: {failed.sum()} row(s) could not be read")
    good = columns[~failed].drop(columns="skipped")
    write_atomic(out, good.to_csv(index=False))
    num_warned = int((good["warning"] != "").sum())
    print(f"{out}: {len(good)} reports, {good['report'].nunique()} distinct, {num_warned} with a warning")
