"""Rows of films, or of reports, -> the table of generated reports; a killed job goes on where it stopped."""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from data_module.pairs import PairsFolder, refuse_contract_name
from pipelines.config import ReportTableConfig
from pipelines.report_rows import Process, read_films, reconstruct
from pipelines.report_writer import open_codec, open_report_writer
from runtime.config import list_changed, list_defaults, to_dict
from runtime.contents import identify
from runtime.devices import pick_device
from runtime.files import file_hash, read_json, write_atomic
from runtime.generators import make_generator
from runtime.ledger import BlockLedger
from runtime.locks import Claim
from runtime.processes import claim_together, is_main, on_main
from runtime.provenance import provenance_record
from runtime.shards import describe_left, spread_shard


@torch.no_grad()
def write_reports(config: ReportTableConfig) -> None:
    """Write the table, or print the report of a single film.

    Raises:
        ValueError: names the flag, folder or film that is wrong.
    """
    if config.batch_size < 1:
        raise ValueError(f"--batch-size {config.batch_size}: must be at least 1")
    if not config.image:
        refuse_contract_name(config.out, "--out")
    table = list_rows(config)
    job = {**identify(config), "rows": _hash_rows(table)}
    if not config.image and on_main(lambda: _check_out(config, job)):
        return
    process, models = open_process(config)
    if config.image:
        (result,) = process(table, draw_generators(config, range(1)))
        if result.skipped:
            raise ValueError(result.skipped)
        if result.warning:
            print(f"warning: {config.image}: {result.warning}", file=sys.stderr)
        print(result.report)
        return
    shard = spread_shard(config.shard)
    ledger, blocks = _ledger(config.out, shard), range(-(-len(table) // config.batch_size))
    claim = Claim(config.out, shard, of_file=True)
    wanted, defaults = {**job, "models": models}, list_defaults(config)
    with claim_together(claim, lambda claim: _begin(claim, ledger, wanted, defaults)):
        _write_batches(config, table, process, ledger, blocks)
        with claim.closing():
            results = _collect(ledger, blocks)
            if results is not None:
                record = {**provenance_record(to_dict(config)), "models": models, "job": job}
                write_results(config.out, table, results, record)
                ledger.delete()
            elif is_main():
                left = describe_left(config.shard, len(ledger.missing(blocks)), "batches")
                print(f"{config.out}: {left}")


def _check_out(config: ReportTableConfig, job: dict[str, Any]) -> bool:
    """Whether the table is finished, which is said; ValueError where --out holds something else."""
    if not config.out.exists() or config.overwrite:
        return False
    if _is_finished(config, job):
        print(f"{config.out} is finished; --overwrite writes it anew")
        return True
    raise ValueError(f"--out {config.out} is there already: name another file or use --overwrite")


def _begin(claim: Claim, ledger: BlockLedger, job: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Note the job; batches of another one are forgotten, unless other shards are at work."""
    if (change := ledger.find_change(job, defaults)) and not claim.when_alone(ledger.forget):
        raise ValueError(f"{claim.what} is being written with {change}: end the other shards, or join them")
    ledger.begin(job)


def _collect(ledger: BlockLedger, blocks: range) -> pd.DataFrame | None:
    """Columns report, warning and skipped of every row; None while batches are missing."""
    found: list[list[str]] = []
    for block in blocks:
        record = ledger.read(block)
        if record is None:
            return None
        found += record["results"]
    return pd.DataFrame(found, columns=["report", "warning", "skipped"])


def _write_batches(
    config: ReportTableConfig, table: pd.DataFrame, process: Process, ledger: BlockLedger, blocks: range
) -> None:
    """This shard's batches; those of a killed run are kept."""
    size, mine = config.batch_size, ledger.mine(len(blocks))
    missing = ledger.missing(mine)
    done = len(mine) - len(missing)
    with tqdm(total=len(mine), initial=done, unit="batch", disable=not is_main()) as bar:
        for block in missing:
            # Always full, the last row repeated, so that a row's shape does not depend on the others.
            places = range(block * size, (block + 1) * size)
            rows = table.iloc[[min(place, len(table) - 1) for place in places]]
            results = process(rows, draw_generators(config, places))
            ledger.write(block, {"results": results[: len(table) - block * size]})
            bar.update()


def open_process(config: ReportTableConfig) -> tuple[Process, list[str]]:
    """Rows -> results, through --model or, with --reconstruct, the codec alone; hashes of the weights.

    Raises:
        ValueError: drafts are asked for of what writes one report for a film.
    """
    takes_drafts = False
    if config.reconstruct:
        codec = open_codec(config.writer.language or "runs/demo/bart")
        process, models = partial(reconstruct, codec, config.decoding), [codec.fingerprint()]
    else:
        writer = open_report_writer(config.writer, config.data)
        takes_drafts = writer.takes_drafts
        process, models = partial(read_films, writer, config.decoding), writer.identity
    if (config.decoding.assemble or config.decoding.num_candidates > 1) and not takes_drafts:
        what = "--reconstruct" if config.reconstruct else f"--model {config.writer.model}"
        raise ValueError(f"{what} writes one report for a film: leave out --assemble and --num-candidates")
    return process, models


def list_rows(config: ReportTableConfig) -> pd.DataFrame:
    """What is asked for: study_id, file_name, path and (with --data) report of each row."""
    if config.images and not config.images.is_dir():
        raise ValueError(f"--images {config.images}: no such folder")
    root = config.images or (config.image.parent if config.image else None)
    if root:
        found = [config.image] if config.image else sorted(p for p in root.rglob("*") if not p.is_dir())
        paths = [path for path in found if config.image or not path.name.startswith(".")]
        names = [path.relative_to(root).as_posix() for path in paths]
        table = pd.DataFrame({"study_id": [path.stem for path in paths], "file_name": names, "path": paths})
    else:
        pairs = PairsFolder.open(config.data).split(config.split)
        if not (config.reconstruct or pairs.has_films):
            raise ValueError(f"--data {config.data} has rows with no film: only --reconstruct reads it")
        table = pairs.table.reindex(columns=["study_id", "file_name", "report"]).reset_index(drop=True)
        table["path"] = pd.Series([config.data / str(name) for name in table["file_name"]], dtype=object)
    table = table.head(config.max_films) if config.max_films else table
    if not len(table):
        raise ValueError(f"{config.images or config.data} holds nothing to read")
    return table


def draw_generators(config: ReportTableConfig, places: range) -> list[torch.Generator] | None:
    """One generator a row, where reports are sampled."""
    if config.decoding.method != "sample":
        return None
    return [make_generator(config.seed, place, device=pick_device()) for place in places]


def _hash_rows(table: pd.DataFrame) -> str:
    """Of the rows, and of their films' sizes."""
    sizes = [path.stat().st_size if path.is_file() else -1 for path in table["path"]]
    text = table.drop(columns="path").assign(size=sizes).to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ledger(out: Path, shard: tuple[int, int] = (0, 1)) -> BlockLedger:
    return BlockLedger(out.with_name(f".{out.name}.parts"), shard)


def _record_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.provenance.json")


def _is_finished(config: ReportTableConfig, job: dict[str, Any]) -> bool:
    """Whether the table is the one that this job makes."""
    out = config.out
    try:
        record = read_json(_record_path(out))
    except ValueError:
        return False
    if record.get("table_hash") != file_hash(out):
        return False
    if not isinstance(record.get("job"), dict) or list_changed(record["job"], job, list_defaults(config)):
        return False
    with Claim(out, of_file=True):
        _ledger(out).delete()  # of a run that was killed as it ended
    return True


def write_results(out: Path, table: pd.DataFrame, results: pd.DataFrame, record: dict[str, Any]) -> None:
    """The table of reports last, and beside it how it was made and, if any, what could not be read."""
    columns = pd.concat([table[["study_id", "file_name"]], results], axis=1)
    failed = (columns["skipped"] != "").to_numpy()
    skipped = out.with_name(f"{out.stem}.skipped.csv")  # skipped.csv may be a pairs folder's own
    if failed.any():
        names = columns["file_name"].fillna("").astype(str)
        item = np.where(names == "", columns["study_id"].astype(str), names)
        reasons = pd.DataFrame({"item": item, "reason": columns["skipped"]})[failed]
        write_atomic(skipped, reasons.to_csv(index=False))
        print(f"{skipped}: {failed.sum()} row(s) could not be read")
    good = columns[~failed].drop(columns="skipped")
    text = good.to_csv(index=False).encode()
    record["table_hash"] = hashlib.sha256(text).hexdigest()
    write_atomic(_record_path(out), json.dumps(record, indent=2) + "\n")
    write_atomic(out, text)
    num_warned = int((good["warning"] != "").sum())
    print(f"{out}: {len(good)} reports, {good['report'].nunique()} distinct, {num_warned} with a warning")
