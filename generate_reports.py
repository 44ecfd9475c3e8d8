"""Write reports for the films of a pairs folder: film -> latents -> prior -> codec -> report.

    python generate_reports.py --data runs/demo/data --split test --autoencoder runs/demo/autoencoder \
        --prior runs/demo/prior --language runs/demo/bart --out reports.csv

With --reconstruct the reports themselves go through the codec, so that the codec can be scored alone.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from diffusers import AutoencoderKL
from tqdm import tqdm

from data_module.cache import model_hash
from data_module.images import load_images
from data_module.pairs import PairsFolder, write_atomic
from language_module import DecodingConfig, ReportCodec
from prior_model import ReportPrior
from training import RunFolder, describe_run, parse_config, run_script
from training.config import to_dict
from training.loader import make_generator

Embed = Callable[[pd.DataFrame], torch.Tensor]


@dataclass(frozen=True)
class Config:
    """Report generation."""

    data: Path = Path("runs/demo/data")
    """Pairs folder whose films (or reports, with --reconstruct) are read."""
    split: str = "test"
    """Its split: train, validation or test."""
    language: Path = Path("runs/demo/bart")
    """Run folder of the report codec."""
    prior: Path = Path("runs/demo/prior")
    """Run folder of the prior."""
    autoencoder: Path = Path("runs/demo/autoencoder")
    """Run folder of the autoencoder."""
    out: Path = Path("reports.csv")
    """Table to write: study_id, file_name, report."""
    reconstruct: bool = False
    """Encode and decode the reports instead of reading the films; needs --language only."""
    max_films: int = 0
    """Rows at most, from the first; 0 takes all."""
    batch_size: int = 32
    """Rows at once. Batches are always full, the last one padded: a row's report depends on no other."""
    seed: int = 0
    """Seed of --method sample; row i draws from (seed, i)."""
    overwrite: bool = False
    """Write --out anew where it is already there."""
    dry_run: bool = False
    """Print the resolved config and stop."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


PRESETS = {"demo": Config(), "paper": Config(data=Path("data/mimic-cxr"))}


@torch.no_grad()
def main(argv: list[str] | None = None) -> None:
    """Parse the flags and write the table."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        describe_run(config, {})
        return
    if config.batch_size < 1:
        raise ValueError(f"--batch-size {config.batch_size}: must be at least 1")
    if config.out.exists() and not config.overwrite:
        raise ValueError(f"--out {config.out} is there already: name another file or use --overwrite")
    pairs = PairsFolder.open(config.data).split(config.split)
    table = pairs.table
    table = table.head(config.max_films) if config.max_films else table
    if not (config.reconstruct or pairs.has_films):
        raise ValueError(f"--data {config.data} has rows with no film: only --reconstruct reads it")
    codec = ReportCodec.from_pretrained(RunFolder.open(config.language, "bart").model_dir)
    if torch.accelerator.is_available():
        codec.to(torch.accelerator.current_accelerator())
    embed = codec_embedder(codec) if config.reconstruct else film_embedder(config, codec)

    partial = _partial_path(config)
    reports = _collect(config, table, codec, embed, partial)
    columns = table.reindex(columns=["study_id", "file_name"]).assign(report=reports)
    write_atomic(config.out, columns.to_csv(index=False))
    partial.unlink()
    print(f"{config.out}: {len(reports)} reports, {len(set(reports))} distinct")


def codec_embedder(codec: ReportCodec) -> Embed:
    """Rows -> embeddings of their own reports."""
    return lambda rows: codec.encode(rows["report"].tolist())


def film_embedder(config: Config, codec: ReportCodec) -> Embed:
    """Rows -> embeddings that the prior reads from their films."""
    from vision_module import encode_films

    prior = ReportPrior.from_pretrained(RunFolder.open(config.prior, "prior").model_dir)
    prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())
    autoencoder = AutoencoderKL.from_pretrained(RunFolder.open(config.autoencoder, "autoencoder").model_dir)
    prior.eval().to(codec.device)
    autoencoder.eval().to(codec.device)
    film_size = prior.config.latent_size * 2 ** (len(autoencoder.config.block_out_channels) - 1)

    def embed(rows: pd.DataFrame) -> torch.Tensor:
        images = load_images([config.data / name for name in rows["file_name"]], film_size)
        latents, _ = encode_films(autoencoder, images.to(codec.device))
        return prior(latents)

    return embed


def _collect(
    config: Config, table: pd.DataFrame, codec: ReportCodec, embed: Embed, partial: Path
) -> list[str]:
    """All reports, batch by batch; each finished batch is kept, so that a killed run goes on from there."""
    done = _read_partial(partial)
    with partial.open("a") as file, tqdm(total=len(table), initial=len(done), unit="report") as bar:
        for start, rows in _full_batches(table, config.batch_size, len(done)):
            generators = None
            if config.decoding.method == "sample":
                places = range(start, start + len(rows))
                generators = [make_generator(config.seed, place, device=codec.device) for place in places]
            reports = codec.decode(embed(rows), config.decoding, generators)
            reports = reports[: len(table) - start]
            file.write(json.dumps(reports) + "\n")
            file.flush()
            done += reports
            bar.update(len(reports))
    return done


def _full_batches(table: pd.DataFrame, batch_size: int, start: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """(first row, rows) from `start` on; the last batch repeats its last row, so all have one shape."""
    for first in range(start, len(table), batch_size):
        places = [min(place, len(table) - 1) for place in range(first, first + batch_size)]
        yield first, table.iloc[places]


def _partial_path(config: Config) -> Path:
    """The file of finished batches, named by everything that decides their content."""
    runs = [config.language] if config.reconstruct else [config.language, config.prior, config.autoencoder]
    facts = {
        "config": to_dict(dataclasses.replace(config, overwrite=False)),
        "models": [model_hash(run / "model") for run in runs],
        "data": PairsFolder.open(config.data).manifest_hash(),
    }
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
    return config.out.with_name(f".{config.out.name}.{key}.partial")


def _read_partial(path: Path) -> list[str]:
    """Reports of the finished batches; a batch that was cut in the middle is dropped from the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    write_atomic(path, whole)
    return [report for line in whole.splitlines() for report in json.loads(line)]


if __name__ == "__main__":
    run_script(main)
