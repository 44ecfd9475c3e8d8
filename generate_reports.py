"""Write reports for films: one film, a folder of films, or a split of a pairs folder.

    python generate_reports.py --model runs/demo/prior --image film.png
    python generate_reports.py --model runs/demo/prior --images FOLDER --out reports.csv
    python generate_reports.py --model runs/demo/prior --data runs/demo/data --split test --out reports.csv

--model is a run of train_prior_model.py (its codec is found by itself) or of train_report_gpt.py, or one of
the baselines most-frequent and retrieval. With --reconstruct the reports of --data themselves go through the
codec --language, so that the codec can be scored alone.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from data_module.pairs import PairsFolder
from language_module import DecodingConfig
from pipelines.config import WriterConfig
from pipelines.report_rows import Process, read_films, reconstruct
from pipelines.report_writer import open_codec, open_report_writer
from runtime.cli import parse_config, run_script
from runtime.config import setting, to_dict
from runtime.contents import identify
from runtime.dry_run import describe_run
from runtime.files import file_hash, read_json, write_atomic
from runtime.generators import make_generator
from runtime.ledger import BlockLedger
from runtime.locks import Claim
from runtime.provenance import provenance_record


@dataclass(frozen=True)
class Config:
    """Report generation."""

    writer: WriterConfig = field(default_factory=WriterConfig)
    image: Path | None = None
    """One film, of any size and bit depth, DICOM included: its report is printed."""
    images: Path | None = None
    """Folder of films, subfolders included."""
    data: Path = Path("runs/demo/data")
    """Pairs folder whose films (or reports, with --reconstruct) are read where no image is named."""
    split: str = "test"
    """Its split: train, validation or test."""
    out: Path = setting(Path("reports.csv"), identity=False)
    """Table to write: study_id, file_name, report, warning. Beside it lies how it was made
    (NAME.provenance.json) and what was unreadable (NAME.skipped.csv)."""
    reconstruct: bool = False
    """Encode and decode the reports of --data instead of reading films; needs --language only."""
    max_films: int = 0
    """Rows at most, from the first; 0 takes all."""
    batch_size: int = 32
    """Rows at once. Batches are always full, the last one padded: a row's report depends on no other."""
    seed: int = 0
    """Seed of --method sample; row i draws from (seed, i)."""
    overwrite: bool = setting(False, identity=False)
    """Write --out anew where it is already there."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config and stop."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


PRESETS = {
    "demo": Config(),
    "paper": Config(writer=WriterConfig(model="runs/paper/prior"), data=Path("data/mimic-cxr")),
}


@torch.no_grad()
def main(argv: list[str] | None = None) -> None:
    """Parse the flags, write the table or print the report."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        describe_run(config, {})
        return
    if config.batch_size < 1:
        raise ValueError(f"--batch-size {config.batch_size}: must be at least 1")
    table = list_rows(config)
    job = {**identify(config), "rows": _hash_rows(table)}
    if not config.image and config.out.exists() and not config.overwrite:
        if _is_finished(config.out, job):
            print(f"{config.out} is finished; --overwrite writes it anew")
            return
        raise ValueError(f"--out {config.out} is there already: name another file or use --overwrite")
    process, models = open_process(config)
    if config.image:
        (result,) = process(table, draw_generators(config, range(1)))
        if result.skipped:
            raise ValueError(result.skipped)
        if result.warning:
            print(f"warning: {config.image}: {result.warning}", file=sys.stderr)
        print(result.report)
        return
    with Claim(config.out, of_file=True):
        results = write_reports(config, table, process, {**job, "models": models})
        record = {**provenance_record(to_dict(config)), "models": models, "job": job}
        write_results(config.out, table, results, record)
        _ledger(config.out).delete()


def write_reports(config: Config, table: pd.DataFrame, process: Process, job: dict[str, Any]) -> pd.DataFrame:
    """Columns report, warning and skipped of every row, batch by batch; a killed run's batches are kept."""
    ledger, size = _ledger(config.out), config.batch_size
    if ledger.find_change(job):
        ledger.forget()
    ledger.begin(job)
    blocks = range(-(-len(table) // size))
    missing = ledger.missing(blocks)
    with tqdm(total=len(blocks), initial=len(blocks) - len(missing), unit="batch") as bar:
        for block in missing:
            # Always full, the last row repeated, so that a row's shape does not depend on the others.
            places = range(block * size, (block + 1) * size)
            rows = table.iloc[[min(place, len(table) - 1) for place in places]]
            results = process(rows, draw_generators(config, places))
            ledger.write(block, {"results": results[: len(table) - block * size]})
            bar.update()
    found = [result for block in blocks for result in (ledger.read(block) or {})["results"]]
    return pd.DataFrame(found, columns=["report", "warning", "skipped"])


def open_process(config: Config) -> tuple[Process, list[str]]:
    """Rows -> results, through --model or, with --reconstruct, the codec alone; hashes of the weights."""
    if config.reconstruct:
        codec = open_codec(config.writer.language or "runs/demo/bart")
        return partial(reconstruct, codec, config.decoding), [codec.fingerprint()]
    writer = open_report_writer(config.writer, config.data)
    return partial(read_films, writer, config.decoding), writer.identity


def list_rows(config: Config) -> pd.DataFrame:
    """What is asked for: study_id, file_name, path and (with --data) report of each row."""
    if config.image or config.images:
        if config.images and not config.images.is_dir():
            raise ValueError(f"--images {config.images}: no such folder")
        root = config.images or config.image.parent
        found = [config.image] if config.image else sorted(p for p in root.rglob("*") if p.is_file())
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


def draw_generators(config: Config, places: range) -> list[torch.Generator] | None:
    """One generator a row, where reports are sampled."""
    if config.decoding.method != "sample":
        return None
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    return [make_generator(config.seed, place, device=device) for place in places]


def _hash_rows(table: pd.DataFrame) -> str:
    """Of the rows, and of their films' sizes."""
    sizes = [path.stat().st_size if path.is_file() else -1 for path in table["path"]]
    text = table.drop(columns="path").assign(size=sizes).to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ledger(out: Path) -> BlockLedger:
    return BlockLedger(out.with_name(f".{out.name}.parts"))


def _record_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.provenance.json")


def _is_finished(out: Path, job: dict[str, Any]) -> bool:
    """Whether the table is the one that this job makes."""
    try:
        record = read_json(_record_path(out))
    except ValueError:
        return False
    if record.get("job") != job or record.get("table_hash") != file_hash(out):
        return False
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


if __name__ == "__main__":
    run_script(main)
