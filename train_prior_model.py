"""Train the prior: a film's latents -> its report's embeddings, for a trained autoencoder and report codec.

    python train_prior_model.py --data runs/demo/data --autoencoder runs/demo/autoencoder \
        --language runs/demo/bart --out runs/demo/prior

With --features classifier or clip it reads the feature maps of that frozen image encoder instead; with
--tune-encoder a copy of the encoder, kept in the run, is trained along with it. With --tune-decoder, so is
a copy of the codec's decoder.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate import PartialState

from data_module.film_check import FilmCheck, describe_maps
from data_module.findings import FINDINGS
from data_module.labeler.attributes import NUM_ATTRIBUTES
from data_module.pairs import PairsFolder
from language_module import ReportCodec
from pipelines.prior_training import build_prior, prepare_films, prepare_inputs
from prior_model import FilmToReport, PriorLossConfig
from runtime import RunFolder, describe_run, parse_config, run_script
from training import ParameterGroup, TrainConfig, fit, with_epochs
from vision_module.classifier import Augmentation


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
            bool(config.train.ema_decay),
            trained=("prior",),
            sizes={"latents": f"(B, {latents})", "report_embeddings": f"(B, {embeddings})"},
        )
        return
    _check(config)
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


def _check(config: Config) -> None:
    if config.loss.findings_weight and config.size.num_findings != len(FINDINGS):
        raise ValueError(f"--findings-weight needs --num-findings {len(FINDINGS)} (or 0 for both)")
    attributes = config.size.num_attributes
    if attributes and not (config.loss.findings_weight and attributes == NUM_ATTRIBUTES):
        raise ValueError(f"--num-attributes: 0, or {NUM_ATTRIBUTES} with --findings-weight above 0")
    if config.tune_encoder and config.features == "latents":
        raise ValueError("--tune-encoder: the latents' encoder is fixed; use --features classifier or clip")


if __name__ == "__main__":
    run_script(main)
