"""Train the prior: a film's latents -> its report's embeddings, for a trained autoencoder and report codec.

    python train_prior_model.py --data runs/demo/data --autoencoder runs/demo/autoencoder \
        --language runs/demo/bart --out runs/demo/prior

With --features classifier or clip it reads the feature maps of that frozen image encoder instead.
"""

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState

from data_module.cache import model_hash
from data_module.film_check import FilmCheck, describe_maps
from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder
from language_module import ImageEncoder, ReportCodec, encode_features
from prior_model import LatentReportSource, PriorLossConfig, ReportPrior, load_vit_weights, prior_losses
from training import RunFolder, TrainConfig, describe_run, fit, parse_config, run_script, with_epochs


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
    pairs = PairsFolder.open(config.data)
    if not pairs.has_films:
        raise ValueError(f"--data {config.data} has rows with no film: a prior reads films")
    codec = ReportCodec.from_pretrained(RunFolder.open(config.language, "bart").model_dir)
    codec.requires_grad_(False).to(PartialState().device)
    mean, std = encode_inputs(config, pairs)
    run = RunFolder.create(config.out, "prior", config, config.overwrite)
    if not torch.accelerator.is_available():
        codec.bart.set_attn_implementation("eager")  # faster backward on a CPU, see train_bart.py
    torch.manual_seed(config.train.seed)
    embeddings = (codec.num_embeddings, codec.embedding_dim)
    prior = build_prior(config.size, mean.shape[1:], embeddings, codec.fingerprint(), config.features)
    train_rows = np.flatnonzero((pairs.table["split"] == "train").to_numpy())
    if config.features != "latents":
        sample = mean[train_rows[:4096]].astype(np.float32)
        prior.feature_mean.copy_(torch.from_numpy(sample.mean(axis=(0, 2, 3), keepdims=True)[0]))
        prior.feature_std.copy_(torch.from_numpy(sample.std(axis=(0, 2, 3), keepdims=True)[0] + 1e-3))
    if config.init_vit:
        loaded = load_vit_weights(prior.vit, config.init_vit)
        for what in ("taken", "left_out", "added"):
            names = getattr(loaded, what)
            print(f"--init-vit: {what.replace('_', ' ')}: {len(names)} ({', '.join(names[:3])} ...)")
    noise = {"latent_noise": config.latent_noise, "max_shift": config.max_shift}
    standardize = copy.deepcopy(prior).standardize  # on the CPU, where batches are made
    train_data = make_source(pairs, "train", mean, std, codec, standardize=standardize, **noise)
    validation_data = make_source(pairs, "validation", mean, std, codec, standardize=standardize)

    def objective(model, batch, generator):
        predicted, logits = model(batch["latents"], return_findings=True)
        return prior_losses(
            predicted,
            batch["report_embeddings"],
            config.loss,
            codec.loss,
            batch["token_ids"],
            findings=(logits, batch["labels"]),
        )

    def save(model: ReportPrior, folder: Path) -> None:
        model.save_pretrained(folder)
        inputs = (mean[train_rows[at : at + 256]] for at in range(0, len(train_rows), 256))
        FilmCheck.fit(np.concatenate([describe_maps(part) for part in inputs])).save(folder)

    fit(
        prior,
        objective,
        train_data,
        validation_data,
        with_epochs(config.train, config.num_epochs, len(train_data)),
        run,
        save,
    )


def encode_inputs(config: Config, pairs: PairsFolder) -> tuple[np.ndarray, np.ndarray | None]:
    """What the prior reads of every film, (N, C, H, W), and the latents' deviation; encoded once."""
    # Imported late: --help and --dry-run need not wait for it.
    from vision_module import encode_latents

    cache = config.cache or config.out.parent / "cache"
    if config.features == "latents":
        autoencoder = RunFolder.open(config.autoencoder, "autoencoder")
        latents = encode_latents(pairs, autoencoder.model_dir, cache, batch_size=32)
        return latents["latents_mean"], latents["latents_std"]
    root = getattr(config, config.features)
    folder = RunFolder.open(root, config.features).model_dir
    encoder = ImageEncoder.from_pretrained(folder, f"--{config.features}").to(PartialState().device)
    return encode_features(pairs, encoder, model_hash(folder), cache), None


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


def make_source(
    pairs: PairsFolder,
    split: str,
    mean: np.ndarray,
    std: np.ndarray | None,
    codec: ReportCodec,
    **settings: Any,
) -> LatentReportSource:
    """One split's latents (or features), with the embeddings and tokens of its reports."""
    rows = np.flatnonzero((pairs.table["split"] == split).to_numpy())
    part = pairs.split(split)
    reports, labels = part.table["report"].tolist(), part.labels
    batches = [reports[start : start + 64] for start in range(0, len(reports), 64)]
    embeddings = torch.cat([codec.encode(batch).cpu() for batch in batches])
    token_ids, _ = codec.tokenize(reports)
    pad = codec.tokenizer.pad_token_id
    return LatentReportSource(mean, std, rows, embeddings, token_ids, pad, labels, **settings)


if __name__ == "__main__":
    run_script(main)
