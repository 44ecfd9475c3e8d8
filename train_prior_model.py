"""Train the prior: a film's latents -> its report's embeddings, for a trained autoencoder and report codec.

    python train_prior_model.py --data runs/demo/data --autoencoder runs/demo/autoencoder \
        --language runs/demo/bart --out runs/demo/prior

With --features classifier or clip it reads the feature maps of that frozen image encoder instead; with
--tune-encoder a copy of the encoder, kept in the run, is trained along with it. With --tune-decoder, so is
a copy of the codec's decoder.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from accelerate import PartialState

from data_module.cache import model_hash
from data_module.demo.wording import NUM_ATTRIBUTES, attribute_labels
from data_module.film_check import FilmCheck, describe_maps
from data_module.film_store import FilmStore
from data_module.findings import FINDINGS
from data_module.images import to_images
from data_module.pairs import PairsFolder
from evaluation.classifier_training import Augmentation
from language_module import ImageEncoder, ReportCodec, encode_features
from prior_model import (
    FilmReportSource,
    FilmToReport,
    LatentReportSource,
    PriorLossConfig,
    ReportPrior,
    ReportTargets,
    load_vit_weights,
)
from training import (
    ParameterGroup,
    RunFolder,
    TrainConfig,
    describe_run,
    fit,
    parse_config,
    run_script,
    with_epochs,
)

NUM_SAMPLED = 1024  # training films that set the features' scale


@dataclass(frozen=True)
class PriorSize:
    """Sizes of the ViT; the latents' shape, K and D are those of the autoencoder and the codec."""

    patch_size: int = 2
    """Latent cells to a patch, on each side."""
    dim: int = 128
    """Width of the transformer."""
    depth: int = 1
    """Blocks of the transformer."""
    num_heads: int = 4
    """Attention heads."""
    stem_depth: int = 2
    """Residual convolutions on each side of a halving, in the place of half the patch; 0 = plain patches."""
    stem_channels: int = 64
    """Channels of the stem before the halving."""
    num_findings: int = len(FINDINGS)
    """14: also predicts the findings, and lets them shift the embeddings; 0 = does not."""
    num_attributes: int = 0
    """70: also predicts side and grade of each finding, as the reports tell them; 0 = does not."""
    dropout: float = 0.0
    """Dropout."""
    drop_path: float = 0.0
    """Stochastic depth of the last block, rising to it linearly."""


@dataclass(frozen=True)
class Config:
    """Prior training."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; split train is learned, split validation watched."""
    features: Literal["latents", "classifier", "clip"] = "latents"
    """What the prior reads: the autoencoder's latents, or feature maps of --classifier or --clip."""
    autoencoder: Path = Path("runs/demo/autoencoder")
    """Run folder of the autoencoder, for --features latents."""
    classifier: Path = Path("runs/demo/classifier")
    """Run folder of the classifier, for --features classifier."""
    clip: Path = Path("runs/demo/clip")
    """Run folder of the domain CLIP, for --features clip."""
    feature_levels: int = 1
    """Maps of that encoder's last stages, stacked: above 1, the finer ones show side and extent."""
    tune_encoder: bool = False
    """Train a copy of that encoder too, on films changed at random; it is kept in the run."""
    tune_decoder: bool = False
    """Train a copy of the codec's decoder too, on the prior's own embeddings; it is kept in the run."""
    tuned_rate: float = 0.1
    """Learning rate of both copies, as a factor of --learning-rate."""
    language: Path = Path("runs/demo/bart")
    """Run folder of the report codec."""
    out: Path = Path("runs/demo/prior")
    """Run folder to write."""
    init_vit: str = ""
    """Folder or .safetensors file of a published ViT (such as ViT-B/16 on ImageNet, timm or Hugging Face
    layout) to start the transformer from; empty starts from scratch."""
    cache: Path | None = None
    """Where the latents are kept, encoded once for each autoencoder and data; None: cache/ beside --out."""
    latent_noise: float = 0.1
    """Noise on the latents (their own scale is 1), so that generated ones read well; 0 = posterior mean."""
    max_shift: int = 1
    """Films are moved by up to this many latent cells in training."""
    num_epochs: float = 0.0
    """Passes over the train split; above 0 it sets the number of steps."""
    dry_run_latents: tuple[int, int, int] = (4, 16, 16)
    """Latents (C, H, W) that --dry-run assumes; a run takes them from its autoencoder."""
    dry_run_embeddings: tuple[int, int] = (8, 192)
    """Report embeddings (K, D) that --dry-run assumes; a run takes them from its codec."""
    overwrite: bool = False
    """Train anew where --out already holds a run."""
    dry_run: bool = False
    """Print the resolved config, sizes and memory, and stop."""
    size: PriorSize = field(default_factory=PriorSize)
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: PriorLossConfig = field(default_factory=PriorLossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


PRESETS = {
    "demo": Config(
        loss=PriorLossConfig(decoder_loss_weight=2.0, decoder_items=8, findings_weight=4.0),
        train=TrainConfig(
            num_steps=2800,
            batch_size=16,
            learning_rate=4e-3,
            weight_decay=0.05,
            warmup_steps=50,
            ema_decay=0.99,
        ),
    ),
    # CXR-IRGen (WACV 2024): ViT-B on 4x32x32 latents, patch 2, MSE + 0.01 (1 - cosine), batch 16, 20 epochs.
    "paper": Config(
        data=Path("data/mimic-cxr"),
        autoencoder=Path("runs/paper/autoencoder"),
        language=Path("runs/paper/bart"),
        out=Path("runs/paper/prior"),
        latent_noise=0.0,
        max_shift=0,
        num_epochs=20.0,
        dry_run_latents=(4, 32, 32),
        dry_run_embeddings=(1, 768),
        size=PriorSize(patch_size=2, dim=768, depth=12, num_heads=12, stem_depth=0, num_findings=0),
        train=TrainConfig(
            batch_size=16, learning_rate=5e-5, weight_decay=0.01, betas=(0.9, 0.999), warmup_steps=0
        ),
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Parse the flags and train."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        latents, embeddings = config.dry_run_latents, config.dry_run_embeddings
        describe_run(
            config,
            {"prior": lambda: build_prior(config.size, latents, embeddings, features=config.features)},
            config.train,
            trained=("prior",),
            sizes={"latents": f"(B, {latents})", "report_embeddings": f"(B, {embeddings})"},
        )
        return
    if config.loss.findings_weight and config.size.num_findings != len(FINDINGS):
        raise ValueError(f"--findings-weight needs --num-findings {len(FINDINGS)} (or 0 for both)")
    if config.size.num_attributes and not (
        config.loss.findings_weight and config.size.num_attributes == NUM_ATTRIBUTES
    ):
        raise ValueError(f"--num-attributes: 0, or {NUM_ATTRIBUTES} with --findings-weight above 0")
    pairs = PairsFolder.open(config.data)
    if not pairs.has_films:
        raise ValueError(f"--data {config.data} has rows with no film: a prior reads films")
    codec = ReportCodec.from_pretrained(RunFolder.open(config.language, "bart").model_dir)
    codec.requires_grad_(False).to(PartialState().device)
    if config.tune_decoder:
        codec.bart.get_decoder().requires_grad_(True)
    parts = (
        prepare_films(config, pairs, codec) if config.tune_encoder else prepare_inputs(config, pairs, codec)
    )
    run = RunFolder.create(config.out, "prior", config, config.overwrite)
    if not torch.accelerator.is_available():
        codec.bart.set_attn_implementation("eager")  # faster backward on a CPU, see train_bart.py

    def save(model: FilmToReport, folder: Path) -> None:
        model.save_pretrained(folder)
        FilmCheck.fit(np.concatenate([describe_maps(maps) for maps in parts.read_train()])).save(folder)

    fit(
        FilmToReport(parts.prior, codec, config.loss, parts.encoder),
        lambda model, batch, generator: model(batch),
        parts.train,
        parts.validation,
        with_epochs(config.train, config.num_epochs, len(parts.train)),
        run,
        save,
        groups=[
            ParameterGroup(f"{name}.", config.tuned_rate)
            for name, tuned in (("encoder", config.tune_encoder), ("codec", config.tune_decoder))
            if tuned
        ],
    )


class Parts(NamedTuple):
    """What is trained, and on what."""

    prior: ReportPrior
    encoder: ImageEncoder | None
    train: ReportTargets
    validation: ReportTargets
    read_train: Callable[[], Iterator[np.ndarray]]
    """Maps (N, C, H, W) of the training films, as the encoder is now, part by part."""


def prepare_inputs(config: Config, pairs: PairsFolder, codec: ReportCodec) -> Parts:
    """A prior on what is encoded once: latents, or features of a frozen encoder."""
    mean, std = encode_inputs(config, pairs)
    rows = {
        name: np.flatnonzero((pairs.table["split"] == name).to_numpy()) for name in ("train", "validation")
    }
    sample = mean[rows["train"][:NUM_SAMPLED]].astype(np.float32)
    prior = start_prior(config, torch.from_numpy(sample), codec)
    settings = {"standardize": copy.deepcopy(prior).standardize}  # on the CPU, where batches are made
    targets = {name: read_targets(config, pairs.split(name), codec) for name in rows}
    noise = {"latent_noise": config.latent_noise, "max_shift": config.max_shift}
    sources = [
        LatentReportSource(mean, std, rows[name], *targets[name], **settings, **changes)
        for name, changes in (("train", noise), ("validation", {}))
    ]

    def read_train() -> Iterator[np.ndarray]:
        return (mean[rows["train"][at : at + 256]] for at in range(0, len(rows["train"]), 256))

    return Parts(prior, None, *sources, read_train)


def prepare_films(config: Config, pairs: PairsFolder, codec: ReportCodec) -> Parts:
    """A prior, and the image encoder before it, which is trained too."""
    if config.features == "latents":
        raise ValueError("--tune-encoder: the latents' encoder is fixed; use --features classifier or clip")
    encoder = ImageEncoder.from_pretrained(*open_encoder(config))
    films = {
        name: FilmStore(pairs.split(name).image_paths, encoder.image_size) for name in ("train", "validation")
    }

    @torch.no_grad()
    def read(start: int, stop: int) -> torch.Tensor:
        images = to_images(films["train"][np.arange(start, min(stop, len(films["train"])))])
        return encoder(images.to(encoder.device)).float().cpu()

    prior = start_prior(config, read(0, NUM_SAMPLED), codec)
    sources = [
        FilmReportSource(films[name], *read_targets(config, pairs.split(name), codec), augment=augment)
        for name, augment in (("train", config.augmentation), ("validation", None))
    ]

    def read_train() -> Iterator[np.ndarray]:
        return (read(at, at + 64).numpy() for at in range(0, len(films["train"]), 64))

    return Parts(prior, encoder, *sources, read_train)


def open_encoder(config: Config) -> tuple[Path, str, int]:
    """Folder, flag and levels of the image encoder."""
    folder = RunFolder.open(getattr(config, config.features), config.features).model_dir
    return folder, f"--{config.features}", config.feature_levels


def encode_inputs(config: Config, pairs: PairsFolder) -> tuple[np.ndarray, np.ndarray | None]:
    """What the prior reads of every film, (N, C, H, W), and the latents' deviation; encoded once."""
    # Imported late: --help and --dry-run need not wait for it.
    from vision_module import encode_latents

    cache = config.cache or config.out.parent / "cache"
    if config.features == "latents":
        autoencoder = RunFolder.open(config.autoencoder, "autoencoder")
        latents = encode_latents(pairs, autoencoder.model_dir, cache, batch_size=32)
        return latents["latents_mean"], latents["latents_std"]
    folder, *settings = open_encoder(config)
    encoder = ImageEncoder.from_pretrained(folder, *settings).to(PartialState().device)
    return encode_features(pairs, encoder, model_hash(folder), cache), None


def start_prior(config: Config, sample: torch.Tensor, codec: ReportCodec) -> ReportPrior:
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
    latents: tuple[int, int, int],
    embeddings: tuple[int, int],
    codec_fingerprint: str = "",
    features: str = "latents",
) -> ReportPrior:
    """An untrained prior from latents (C, H, W) to report embeddings (K, D)."""
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
    config: Config, part: PairsFolder, codec: ReportCodec
) -> tuple[torch.Tensor, torch.Tensor, int, np.ndarray]:
    """Arguments of `ReportTargets`: embeddings and tokens of a split's reports, the pad token, the labels."""
    reports, labels = part.table["report"].tolist(), part.labels
    if config.size.num_attributes:
        labels = np.concatenate([labels, attribute_labels(reports)], axis=1)
    batches = [reports[start : start + 64] for start in range(0, len(reports), 64)]
    embeddings = torch.cat([codec.encode(batch).cpu() for batch in batches])
    return embeddings, codec.tokenize(reports)[0], codec.tokenizer.pad_token_id, labels


if __name__ == "__main__":
    run_script(main)
