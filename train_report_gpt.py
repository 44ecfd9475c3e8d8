"""Train the report baseline: image encoder -> mapping network -> GPT-2 or BioGPT -> report.

    python train_report_gpt.py --data runs/demo/data --out runs/demo/report_gpt_1
    python train_report_gpt.py --data runs/demo/data --stage 2 --init-from runs/demo/report_gpt_1 \
        --learning-rate 3e-4 --out runs/demo/report_gpt_2

Stage 1 leaves the image encoder as it is; stage 2 starts from a run of stage 1 and trains all weights.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from language_module.config import GPTSize, MappingConfig
from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig, with_epochs
from training.dry_run import describe_run

if TYPE_CHECKING:
    from language_module.report_gpt import ReportGPT


@dataclass(frozen=True)
class Config:
    """Training of the image-to-GPT baseline."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; split train is learned, split validation watched."""
    out: Path = setting(Path("runs/demo/report_gpt_1"), identity=False)
    """Run folder to write."""
    stage: Literal[1, 2] = 1
    """1: the encoder is frozen; 2: everything is trained, from the run that --init-from names."""
    init_from: str = ""
    """Run of this script to start from (needed by stage 2); its encoder, decoder and sizes are taken."""
    encoder: str = "runs/demo/classifier"
    """Run of train_classifier.py, a transformers ViT, ResNet or CLIP or a timm model (folder or hub name),
    torchxrayvision:FILE (a DenseNet's weights), or empty: a small ViT from scratch (then use stage 2)."""
    decoder: str = ""
    """GPT-2 or BioGPT folder or hub name (gpt2, microsoft/biogpt); empty: a GPT-2 from scratch."""
    max_tokens: int = 128
    """Tokens of a report; the rest of a longer one is cut."""
    max_shift: int = 2
    """Films are moved by up to this many pixels each way in training."""
    num_epochs: float = 0.0
    """Passes over the train split; above 0 it sets the number of steps."""
    overwrite: bool = setting(False, identity=False)
    """Train anew where --out already holds a run."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""
    mapping: MappingConfig = field(default_factory=MappingConfig)
    size: GPTSize = field(default_factory=GPTSize)
    train: TrainConfig = field(default_factory=TrainConfig)


DEMO = Config(
    train=TrainConfig(
        num_steps=1200, batch_size=16, learning_rate=2e-3, weight_decay=0.05, warmup_steps=60, ema_decay=0.99
    )
)
PRESETS = {
    "demo": DEMO,
    # A laptop: published small weights, few tokens, small batches that add up.
    "minimal": dataclasses.replace(
        DEMO,
        data=Path("data/mimic-cxr"),
        out=Path("runs/minimal/report_gpt_1"),
        encoder="WinKawaks/vit-tiny-patch16-224",
        decoder="distilgpt2",
        max_shift=8,
        mapping=MappingConfig("linear"),
        num_epochs=2.0,
        train=TrainConfig(
            batch_size=2,
            gradient_accumulation_steps=8,
            learning_rate=5e-5,
            warmup_steps=200,
        ),
    ),
    "paper": Config(
        data=Path("data/mimic-cxr"),
        out=Path("runs/paper/report_gpt_1"),
        encoder="google/vit-base-patch16-224",
        decoder="microsoft/biogpt",
        max_tokens=256,
        max_shift=8,
        num_epochs=10.0,
        mapping=MappingConfig("perceiver", num_prefix=32, mapping_heads=16),
        size=GPTSize(42384, 1024, 24, 16),
        train=TrainConfig(batch_size=16, learning_rate=1e-4, warmup_steps=500, num_workers=8),
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Parse the flags and train."""
    config = parse_config(PRESETS, argv, __doc__)
    if config.dry_run:
        _describe(config)
    else:
        train(config)


def train(config: Config) -> None:
    import torch

    from data_module.film_check import FilmCheck
    from data_module.film_store import FilmStore
    from data_module.pairs import PairsFolder
    from language_module.data import ReportFilmSource, describe_films
    from runtime.runs import RunFolder
    from training.loop import fit

    if (config.stage == 2) != bool(config.init_from):
        raise ValueError(
            f"--stage {config.stage}: stage 2 needs --init-from RUN (of stage 1), stage 1 takes none"
        )
    pairs = PairsFolder.open(config.data)
    if not pairs.has_films:
        raise ValueError(f"--data {config.data} has rows with no film: this baseline reads films")
    train_rows, validation = pairs.split("train"), pairs.split("validation")
    train_reports = train_rows.table["report"].tolist()
    model = build_model(config, train_reports)
    run = RunFolder.create(config.out, "report_gpt", config, config.overwrite)
    films = FilmStore(train_rows.image_paths, model.film_size)
    if not torch.accelerator.is_available():
        model.decoder.set_attn_implementation("eager")  # faster backward on a CPU, see train_bart.py

    def save(model: "ReportGPT", folder: Path) -> None:
        model.save_pretrained(folder)
        FilmCheck.fit(describe_films(model, films)).save(folder)

    fit(
        model,
        lambda model, batch, generator: {"loss": model(**batch)},
        ReportFilmSource(model, films, train_reports, config.max_shift),
        ReportFilmSource(
            model, FilmStore(validation.image_paths, model.film_size), validation.table["report"].tolist()
        ),
        with_epochs(config.train, config.num_epochs, len(films)),
        run,
        save,
    )


def _describe(config: Config) -> None:
    import torch

    from data_module.splits import count_train_rows
    from language_module.report_gpt import build_gpt

    positions = config.max_tokens + config.mapping.num_prefix
    describe_run(
        config,
        {"decoder": lambda: build_gpt(config.size, config.size.vocab_size, positions)},
        bool(config.train.ema_decay),
        trained=("decoder",),
        sizes={"tokens of prefix and report": positions},
        forwards={"decoder": lambda decoder: decoder(torch.zeros(1, positions, dtype=torch.long))},
        count_items=lambda: count_train_rows(config.data),
    )


def build_model(config: Config, reports: list[str]) -> "ReportGPT":
    """The model that a stage starts from."""
    import torch

    from evaluation.networks.xrv import PREFIX as XRV
    from evaluation.networks.xrv import read_xrv_weights
    from language_module.image_encoder import ImageEncoder, build_densenet, build_vit
    from language_module.report_gpt import ReportGPT, build_gpt, load_decoder
    from language_module.tokenizer import special_id, train_tokenizer
    from runtime.runs import model_source

    if config.init_from:
        source = model_source(config.init_from, "report_gpt", "--init-from")
        return ReportGPT.from_pretrained(source).train()
    torch.manual_seed(config.train.seed)
    if config.encoder.startswith(XRV):
        encoder = build_densenet(read_xrv_weights(Path(config.encoder.removeprefix(XRV))))
    elif config.encoder:
        encoder = ImageEncoder.from_pretrained(model_source(config.encoder, "classifier", "--encoder"))
    else:
        encoder = build_vit(image_size=64, patch_size=8, dim=192, depth=4, num_heads=4)
    if config.decoder:
        decoder, tokenizer = load_decoder(config.decoder)
    else:
        tokenizer = train_tokenizer(reports, config.size.vocab_size, config.max_tokens)
        positions = config.max_tokens + max(config.mapping.num_prefix, encoder.num_places)
        decoder = build_gpt(config.size, len(tokenizer), positions, special_id(tokenizer, "eos_token_id"))
    model = ReportGPT(encoder, decoder, tokenizer, config.mapping, config.max_tokens)
    model.freeze_encoder()
    return model


if __name__ == "__main__":
    run_script(main)
