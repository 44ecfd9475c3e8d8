"""What writes reports for films, behind one interface: codec and prior, the GPT baseline, baselines."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from runtime.runs import RunFolder, is_run, model_source
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
    takes_drafts: bool = False
    """Whether a report may come of several drafts."""

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
    if config.model == baselines.MOST_TYPICAL:
        return baselines.most_typical(baselines.training_rows(data, config.model))
    if config.model == baselines.RETRIEVAL:
        classifier = Path(config.classifier or "runs/demo/classifier")
        train = baselines.training_rows(data, config.model)
        return baselines.retrieval(train, classifier, config.num_neighbors)
    run = RunFolder.open(Path(config.model), ("prior", "report_gpt"))
    return _codec_and_prior(config) if run.kind == "prior" else _report_gpt(run)


def open_codec(source: str | Path) -> ReportCodec:
    """The codec of a run of train_bart.py, on the accelerator where there is one."""
    return ReportCodec.from_pretrained(RunFolder.open(Path(source), "bart").model_dir).to(pick_device())


def check_distances(check: FilmCheck | None, features: torch.Tensor) -> np.ndarray | None:
    """(B,) distances of films to the training films, from their feature maps (B, C, h, w)."""
    return None if check is None else check.distances(describe_maps(features.float().cpu().numpy()))


@dataclass(frozen=True)
class FilmReader:
    """A prior, what it reads films with, and the codec that it speaks to."""

    codec: ReportCodec
    prior: ReportPrior
    encode: Callable[[torch.Tensor], torch.Tensor] | None
    """Films (B, 1, S, S) in [-1, 1] -> what the prior reads (B, C, H, W), S being `film_size`; None where it
    reads latents, and who opened it has them."""
    film_size: int
    folders: tuple[Path, ...]
    """Models of the codec, of the prior, and of what encodes films."""

    @property
    def reads_latents(self) -> bool:
        """Whether the prior reads the latents of an autoencoder."""
        return self.prior.config["features"] == "latents"

    def write(
        self,
        features: torch.Tensor,
        decoding: DecodingConfig,
        generators: Generators,
        autocast: AbstractContextManager | None = None,
    ) -> list[str]:
        """Reports of B films from what the prior reads of them; the prior runs within `autocast`."""
        with autocast or nullcontext():
            embeddings, logits = self.prior(self.prior.standardize(features), return_findings=True)
        if not torch.isfinite(embeddings).all():
            raise ValueError(f"the prior {self.folders[1]} gave embeddings that are not finite")
        return decode_drafts(self.codec.decode, embeddings.float(), logits, decoding, generators)


def open_film_reader(config: WriterConfig, have_latents: bool = False, flag: str = "--model") -> FilmReader:
    """A run of train_prior_model.py, `config.model`, with its codec and encoder.

    Args:
        have_latents: the autoencoder of a prior that reads latents is not opened.
        flag: named in errors.

    Raises:
        ValueError: no such run, or parts that do not fit each other.
    """
    folder, device = Path(model_source(config.model, "prior", flag)), pick_device()
    settings = RunFolder.open(folder.parent, "prior").config if is_run(folder.parent) else {}
    prior = move(load_pretrained(ReportPrior, folder), device)
    language = _own_part(folder, CODEC) or Path(
        model_source(config.language or settings.get("language", ""), "bart", "--language")
    )
    codec = ReportCodec.from_pretrained(language).eval().to(device)
    prior.check_codec(codec.num_embeddings, codec.embedding_dim, codec.fingerprint())
    if have_latents and prior.config["features"] == "latents":
        return FilmReader(codec, prior, None, 0, (language, folder))
    encode, film_size, encoder = _prior_input(config, folder, settings, prior)
    return FilmReader(codec, prior, encode, film_size, (language, folder, encoder))


def _codec_and_prior(config: WriterConfig) -> ReportWriter:
    reader = open_film_reader(config)
    check, encode = FilmCheck.load(reader.folders[1]), reader.encode
    assert encode is not None

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> ReportBatch:
        features = encode(images.to(reader.prior.device))
        return ReportBatch(reader.write(features, decoding, generators), check_distances(check, features))

    return ReportWriter(reader.film_size, write, reader.folders, takes_drafts=True)


def _own_part(model: Path, name: str) -> Path | None:
    """The encoder or codec that a prior's run trained for itself."""
    return model / name if (model / name).is_dir() else None


def _prior_input(
    config: WriterConfig, model: Path, settings: Mapping[str, Any], prior: ReportPrior
) -> tuple[Callable[[torch.Tensor], torch.Tensor], int, Path]:
    """Films -> what this prior reads; the films' side; the folder of the model that does it."""
    kind = prior.config["features"]
    part = "autoencoder" if kind == "latents" else kind
    named = getattr(config, part) or settings.get(part, "")
    if kind != "latents":
        folder = _own_part(model, ENCODER) or Path(model_source(named, part, f"--{part}"))
        encoder = ImageEncoder.from_pretrained(folder, f"--{kind}", settings.get("feature_levels", 1))
        return encoder.to(prior.device), encoder.image_size, folder
    folder = model_source(named, part, f"--{part}")
    autoencoder = move(load_pretrained(AutoencoderKL, folder), prior.device)
    film_size = prior.config["latent_size"] * 2 ** (len(autoencoder.config["block_out_channels"]) - 1)
    return lambda images: encode_films(autoencoder, images)[0], film_size, Path(folder)


def _report_gpt(run: RunFolder) -> ReportWriter:
    model = ReportGPT.from_pretrained(run.model_dir).to(pick_device())
    check = FilmCheck.load(run.model_dir)

    def write(images: torch.Tensor, decoding: DecodingConfig, generators: Generators) -> ReportBatch:
        features = model.encoder(images.to(model.device))
        reports = decode_drafts(model.write, features, None, decoding, generators)
        return ReportBatch(reports, check_distances(check, features))

    return ReportWriter(model.film_size, write, (run.model_dir,), takes_drafts=True)
