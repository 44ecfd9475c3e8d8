"""What train_prior_model.py trains, and on what: latents, features of a frozen encoder, or films."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data_module.film_store import FilmStore
from data_module.findings import FINDINGS
from data_module.images import to_images
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels
from data_module.pairs import PairsFolder
from language_module.codec import ReportCodec
from language_module.image_encoder import ImageEncoder, encode_features
from language_module.tokenizer import special_id
from pipelines.config import PriorSize, PriorTrainingConfig
from prior_model.film_prior import FilmReportSource
from prior_model.objective import LatentReportSource, ReportTargets
from prior_model.prior import ReportPrior
from prior_model.vit_weights import load_vit_weights
from runtime.contents import model_hash
from runtime.processes import process_state
from runtime.runs import RunFolder
from vision_module.classifier import augment_films
from vision_module.encoding import encode_latents

NUM_SAMPLED = 1024  # training films that set the features' scale


class PriorTrainingData(NamedTuple):
    """What is trained, and on what."""

    prior: ReportPrior
    encoder: ImageEncoder | None
    train: ReportTargets
    validation: ReportTargets
    read_train: Callable[[], Iterator[np.ndarray]]
    """Maps (N, C, H, W) of the training films, as the encoder is now, part by part."""


def check_settings(config: PriorTrainingConfig) -> None:
    """ValueError for flags that do not fit each other."""
    if config.loss.findings_weight and config.size.num_findings != len(FINDINGS):
        raise ValueError(f"--findings-weight needs --num-findings {len(FINDINGS)} (or 0 for both)")
    attributes = config.size.num_attributes
    if attributes and not (config.loss.findings_weight and attributes == NUM_ATTRIBUTES):
        raise ValueError(f"--num-attributes: 0, or {NUM_ATTRIBUTES} with --findings-weight above 0")
    if config.tune_encoder and config.features == "latents":
        raise ValueError("--tune-encoder: the latents' encoder is fixed; use --features classifier or clip")


def prepare_inputs(config: PriorTrainingConfig, pairs: PairsFolder, codec: ReportCodec) -> PriorTrainingData:
    """A prior on what is encoded once: latents, or features of a frozen encoder."""
    mean, std = encode_inputs(config, pairs)
    rows = {name: pairs.split_rows(name) for name in ("train", "validation")}
    sample = mean[rows["train"][:NUM_SAMPLED]].astype(np.float32)
    prior = start_prior(config, torch.from_numpy(sample), codec)
    settings = {"standardize": copy.deepcopy(prior).standardize}  # on the CPU, where batches are made
    targets = {name: read_targets(config, pairs.split(name), codec) for name in rows}
    noise = {"latent_noise": config.latent_noise, "max_shift": config.max_shift}
    train, validation = (
        LatentReportSource(mean, std, rows[name], *targets[name], **settings, **changes)
        for name, changes in (("train", noise), ("validation", {}))
    )

    def read_train() -> Iterator[np.ndarray]:
        return (mean[rows["train"][at : at + 256]] for at in range(0, len(rows["train"]), 256))

    return PriorTrainingData(prior, None, train, validation, read_train)


def prepare_films(config: PriorTrainingConfig, pairs: PairsFolder, codec: ReportCodec) -> PriorTrainingData:
    """A prior, and the image encoder before it, which is trained too."""
    encoder = ImageEncoder.from_pretrained(*open_encoder(config))
    films = {
        name: FilmStore(pairs.split(name).image_paths, encoder.image_size) for name in ("train", "validation")
    }

    @torch.no_grad()
    def read(start: int, stop: int) -> torch.Tensor:
        images = to_images(films["train"][np.arange(start, min(stop, len(films["train"])))])
        return encoder(images.to(encoder.device)).float().cpu()

    prior = start_prior(config, read(0, NUM_SAMPLED), codec)
    augment = partial(augment_films, augmentation=config.augmentation)
    train, validation = (
        FilmReportSource(films[name], *read_targets(config, pairs.split(name), codec), augment=augment)
        for name, augment in (("train", augment), ("validation", None))
    )

    def read_train() -> Iterator[np.ndarray]:
        return (read(at, at + 64).numpy() for at in range(0, len(films["train"]), 64))

    return PriorTrainingData(prior, encoder, train, validation, read_train)


def open_encoder(config: PriorTrainingConfig) -> tuple[Path, str, int]:
    """Folder, flag and levels of the image encoder."""
    folder = RunFolder.open(getattr(config, config.features), config.features).model_dir
    return folder, f"--{config.features}", config.feature_levels


def encode_inputs(config: PriorTrainingConfig, pairs: PairsFolder) -> tuple[np.ndarray, np.ndarray | None]:
    """What the prior reads of every film, (N, C, H, W), and the latents' deviation; encoded once."""
    cache = config.cache or config.out.parent / "cache"
    if config.features == "latents":
        autoencoder = RunFolder.open(config.autoencoder, "autoencoder")
        latents = encode_latents(pairs, autoencoder.model_dir, cache, batch_size=32)
        return latents["latents_mean"], latents["latents_std"]
    folder, flag, num_levels = open_encoder(config)
    encoder = ImageEncoder.from_pretrained(folder, flag, num_levels).to(process_state().device)
    return encode_features(pairs, encoder, model_hash(folder), cache), None


def start_prior(config: PriorTrainingConfig, sample: torch.Tensor, codec: ReportCodec) -> ReportPrior:
    """The prior that training starts from; `sample` (N, C, H, W) sets its shape and its features' scale."""
    torch.manual_seed(config.train.seed)
    embeddings = (codec.num_embeddings, codec.embedding_dim)
    prior = build_prior(config.size, sample.shape[1:], embeddings, codec.fingerprint(), config.features)
    if config.features != "latents":
        prior.feature_mean.copy_(sample.mean(dim=(0, 2, 3))[:, None, None])
        prior.feature_std.copy_(sample.std(dim=(0, 2, 3))[:, None, None] + 1e-3)
    if config.init_vit:
        loaded = load_vit_weights(prior.vit, config.init_vit)
        for what in ("taken", "left_out", "added"):
            names = getattr(loaded, what)
            print(f"--init-vit: {what.replace('_', ' ')}: {len(names)} ({', '.join(names[:3])} ...)")
    return prior


def build_prior(
    size: PriorSize,
    latents: Sequence[int],
    embeddings: tuple[int, int],
    codec_fingerprint: str = "",
    features: str = "latents",
) -> ReportPrior:
    """An untrained prior of this PriorSize, from latents (C, H, W) to report embeddings (K, D)."""
    return ReportPrior(
        latent_channels=latents[0],
        latent_size=latents[1],
        num_embeddings=embeddings[0],
        embedding_dim=embeddings[1],
        codec_fingerprint=codec_fingerprint,
        features=features,
        **dataclasses.asdict(size),
    )


def read_targets(
    config: PriorTrainingConfig, part: PairsFolder, codec: ReportCodec
) -> tuple[torch.Tensor, torch.Tensor, int, np.ndarray]:
    """Arguments of `ReportTargets`: embeddings and tokens of a split's reports, the pad token, the labels."""
    reports, labels = part.table["report"].tolist(), part.labels
    if config.size.num_attributes:
        labels = np.concatenate([labels, attribute_labels(reports)], axis=1)
    batches = [reports[start : start + 64] for start in range(0, len(reports), 64)]
    embeddings = torch.cat([codec.encode(batch).cpu() for batch in batches])
    return embeddings, codec.tokenize(reports)[0], special_id(codec.tokenizer, "pad_token_id"), labels
