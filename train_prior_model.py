"""Train the prior: a film's latents -> its report's embeddings, for a trained autoencoder and report codec.

    python train_prior_model.py --data runs/demo/data --autoencoder runs/demo/autoencoder \
        --language runs/demo/bart --out runs/demo/prior

With --preset films, which `make demo` takes, it reads films through the classifier's network instead; with
--features classifier or clip it reads the feature maps of that frozen image encoder instead; with
--tune-encoder a copy of the encoder, kept in the run, is trained along with it. With --tune-decoder, so is
a copy of the codec's decoder.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import PriorSize, PriorTrainingConfig
from prior_model.config import PriorLossConfig
from runtime.cli import parse_config, run_script
from training.config import TrainConfig, with_epochs
from training.dry_run import describe_run

if TYPE_CHECKING:
    from prior_model.film_prior import FilmToReport
from runtime.processes import process_state

PRESETS = {
    "demo": PriorTrainingConfig(
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
    # On the films themselves, through a copy of the classifier's network, trained along as the decoder is:
    # it sees sides and grades, which latents at demo scale do not show it.
    "films": PriorTrainingConfig(
        features="classifier",
        feature_levels=2,
        tune_encoder=True,
        tune_decoder=True,
        size=PriorSize(patch_size=1, depth=2, stem_depth=0, num_attributes=70),
        loss=PriorLossConfig(
            mse_weight=0.0, cosine_weight=0.0, decoder_loss_weight=2.0, decoder_items=16, findings_weight=4.0
        ),
        train=TrainConfig(
            num_steps=1000,
            batch_size=16,
            learning_rate=3e-3,
            weight_decay=0.05,
            warmup_steps=50,
            ema_decay=0.99,
        ),
    ),
    # CXR-IRGen (WACV 2024): ViT-B on 4x32x32 latents, patch 2, MSE + 0.01 (1 - cosine), batch 16, 20 epochs.
    "paper": PriorTrainingConfig(
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
        _describe(config)
    else:
        train(config)


def train(config: PriorTrainingConfig) -> None:
    import numpy as np
    import torch

    from data_module.film_check import FilmCheck, describe_maps
    from data_module.pairs import PairsFolder
    from language_module.codec import ReportCodec
    from pipelines.prior_training import check_settings, prepare_films, prepare_inputs
    from prior_model.film_prior import FilmToReport
    from runtime.runs import RunFolder
    from training.loop import fit
    from training.optimizer import ParameterGroup

    check_settings(config)
    pairs = PairsFolder.open(config.data)
    if not pairs.has_films:
        raise ValueError(f"--data {config.data} has rows with no film: a prior reads films")
    codec = ReportCodec.from_pretrained(RunFolder.open(config.language, "bart").model_dir)
    codec.requires_grad_(False).to(process_state().device)
    if config.tune_decoder:
        codec.bart.get_decoder().requires_grad_(True)
    parts = (
        prepare_films(config, pairs, codec) if config.tune_encoder else prepare_inputs(config, pairs, codec)
    )
    run = RunFolder.create(config.out, "prior", config, config.overwrite)
    if not torch.accelerator.is_available():
        codec.bart.set_attn_implementation("eager")  # faster backward on a CPU, see train_bart.py

    def save(model: "FilmToReport", folder: Path) -> None:
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


def _describe(config: PriorTrainingConfig) -> None:
    import torch

    from data_module.splits import count_train_rows
    from pipelines.prior_training import build_prior

    latents, embeddings = config.dry_run_latents, config.dry_run_embeddings
    describe_run(
        config,
        {"prior": lambda: build_prior(config.size, latents, embeddings, features=config.features)},
        bool(config.train.ema_decay),
        trained=("prior",),
        sizes={"latents": f"(B, {latents})", "report_embeddings": f"(B, {embeddings})"},
        forwards={"prior": lambda prior: prior(torch.zeros(1, *latents))},
        count_items=lambda: count_train_rows(config.data),
    )


if __name__ == "__main__":
    run_script(main)
