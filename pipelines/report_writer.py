"""What writes reports for films, behind one interface: codec and prior, the GPT baseline, baselines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL

from data_module.film_check import FilmCheck, describe_maps
from language_module.codec import ReportCodec
from language_module.config import DecodingConfig
from language_module.image_encoder import ImageEncoder
from language_module.report_gpt import ReportGPT
from pipelines.config import WriterConfig
from pipelines.drafts import decode_drafts
from prior_model.film_prior import CODEC, ENCODER
from prior_model.prior import ReportPrior
from runtime.contents import model_hash
from runtime.devices import move, pick_device
from runtime.runs import RunFolder
from runtime.weights import load_pretrained
from vision_module.autoencoder import encode_films

Generators = Sequence[torch.Generator] | None


class ReportBatch(NamedTuple):
    """Reports of B films, and how far each film is from the training films: above 1 is unlike them."""

    reports: list[str]
    distances: np.ndarray | None  # (B,); None where the model was saved without a check


Write = Callable[[torch.Tensor, DecodingConfig, Generators], ReportBatch]


@dataclass(frozen=True)
class ReportWriter:
    """`write` takes films (B, 1, S, S) in [-1, 1], S being `film_size`; one generator a film for sampling."""

    film_size: int
    write: Write
    folders: tuple[Path, ...] = ()
    """Model folders that decide the reports."""

    @property
    def identity(self) -> list[str]:
        """Hashes of the weights."""
        return [model_hash(folder) for folder in self.folders]


def open_report_writer(config: WriterConfig, data: Path) -> ReportWriter:
    """What --model names: a run of train_prior_model.py or train_report_gpt.py, or a baseline.

    Args:
        data: pairs folder whose training rows the baselines know.

    Raises:
        ValueError: no such run, or parts that do not fit each other.
    """
    from pipelines import baselines  # they make a ReportWriter in their turn

    if config.model == baselines.MOST_FREQUENT:
        return baselines.most_frequent(baselines.training_rows(data, config.model))
    if config.model == baselines.RETRIEVAL:
        classifier = Path(config.classifier or "runs/demo/classifier")
        return baselines.retrieval(baselines.training_rows(data, config.model), classifier)
    run = RunFolder.open(Path(config.model), ("prior", "report_gpt"))
    return _codec_and_prior(config, run) if run.kind == "prior" else _report_gpt(run)


def open_codec(source: str | Path) -> ReportCodec:
    """The codec of a run of train_bart.py, on the accelerator where there is one."""
    return ReportCodec.from_pretrained(RunFolder.open(Path(source), "bart").model_dir).to(pick_device())


def check_distances(check: FilmCheck | None, features: torch.Tensor) -> np.ndarray | None:
    """(B,) distances of films to the training films, from their feature maps (B, C, h, w)."""
    return None if check is None else check.distances(describe_maps(features.float().cpu().numpy()))


def _codec_and_prior(config: WriterConfig, run: RunFolder) -> ReportWriter:
    device = pick_device()
    prior = move(load_pretrained(ReportPrior, run.model_dir), device)
    language = (
        _own_part(run, CODEC)
        or RunFolder.open(Path(config.language or run.config["language"]), "bart").model_dir
    )
    codec = ReportCodec.from_pretrained(language).to(device)
    prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())
    read, film_size, folder = _prior_input(config, run, prior)
    check = FilmCheck.load(run.model_dir)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> ReportBatch:
        features = read(images.to(device))
        embeddings, logits = prior(prior.standardize(features), return_findings=True)
        reports = decode_drafts(codec, embeddings, logits, decoding, generators)
        return ReportBatch(reports, check_distances(check, features))

    return ReportWriter(film_size, write, (language, run.model_dir, folder))


def _own_part(run: RunFolder, name: str) -> Path | None:
    """The encoder or codec that a prior's run trained for itself."""
    folder = run.model_dir / name
    return folder if folder.is_dir() else None


def _prior_input(
    config: WriterConfig, run: RunFolder, prior: ReportPrior
) -> tuple[Callable[[torch.Tensor], torch.Tensor], int, Path]:
    """Films -> what this prior reads; the films' side; the folder of the model that does it."""
    kind = prior.config["features"]
    if kind != "latents":
        folder = _own_part(run, ENCODER)
        folder = folder or RunFolder.open(Path(getattr(config, kind) or run.config[kind]), kind).model_dir
        levels = run.config.get("feature_levels", 1)
        encoder = ImageEncoder.from_pretrained(folder, f"--{kind}", levels).to(prior.device)
        return encoder, encoder.image_size, folder
    folder = RunFolder.open(Path(config.autoencoder or run.config["autoencoder"]), "autoencoder").model_dir
    autoencoder = move(load_pretrained(AutoencoderKL, folder), prior.device)
    film_size = prior.config["latent_size"] * 2 ** (len(autoencoder.config["block_out_channels"]) - 1)
    return lambda images: encode_films(autoencoder, images)[0], film_size, folder


def _report_gpt(run: RunFolder) -> ReportWriter:
    model = ReportGPT.from_pretrained(run.model_dir).to(pick_device())
    check = FilmCheck.load(run.model_dir)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> ReportBatch:
        features = model.encoder(images.to(model.device))
        return ReportBatch(model.write(features, decoding, generators), check_distances(check, features))

    return ReportWriter(model.film_size, write, (run.model_dir,))
