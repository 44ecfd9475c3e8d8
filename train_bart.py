"""Train the report codec: report -> K embeddings -> report, on the train split of a pairs folder.

python train_bart.py --data runs/demo/data --out runs/demo/bart
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from language_module.config import NO_DENOISING, BartSize, CodecConfig, Denoising, check_pooling
from runtime.cli import parse_config, run_script
from runtime.config import setting
from training.config import TrainConfig, with_epochs
from training.dry_run import describe_run


@dataclass(frozen=True)
class Config:
    """Report codec training."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; its reports of split train are learned, those of split validation watched."""
    out: Path = setting(Path("runs/demo/bart"), identity=False)
    """Run folder to write."""
    init_from: str = ""
    """BART folder or hub name to start from, such as facebook/bart-base; empty starts from scratch."""
    pooling: str = "learned"
    """Encoder states to embeddings: mean, bos or eos (one embedding), or learned (query tokens)."""
    num_embeddings: int = 8
    """K, the embeddings of a report: 1 to 32."""
    normalize: bool = True
    """LayerNorm without affine on each embedding."""
    segments: bool = False
    """Embedding k reads, and in training names, the words of the k-th of K equal parts of the report: for
    faithful reports at a large K."""
    max_tokens: int = 128
    """Tokens of a report; the rest of a longer one is cut."""
    bag_of_words_weight: float = 1.0
    """Weight of the loss that asks the embeddings for the report's words in any order; 0 = off."""
    bucket_lengths: bool = False
    """Batches of reports of about one length: half the padding, but not each report once an epoch."""
    num_epochs: float = 0.0
    """Passes over the train split; above 0 it sets the number of steps."""
    overwrite: bool = setting(False, identity=False)
    """Train anew where --out already holds a run."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""
    size: BartSize = field(default_factory=BartSize)
    denoising: Denoising = field(default_factory=Denoising)
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def codec(self) -> CodecConfig:
        return CodecConfig(
            pooling=self.pooling,
            num_embeddings=self.num_embeddings,
            normalize=self.normalize,
            segments=self.segments,
            max_tokens=self.max_tokens,
        )


# Small batches: from scratch, the number of updates counts for more than their size.
DEMO = Config(
    size=BartSize(vocab_size=1024),
    train=TrainConfig(
        num_steps=450, batch_size=16, optimizer="muon", learning_rate=2e-3, warmup_steps=60, ema_decay=0.99
    ),
)
PRESETS = {
    "demo": DEMO,
    # Real reports from scratch on a small machine, faithfully: many embeddings, each with its own part.
    "open-i": dataclasses.replace(
        DEMO,
        data=Path("runs/open_i/data"),
        out=Path("runs/open_i/bart"),
        num_embeddings=32,
        segments=True,
        bucket_lengths=True,
        max_tokens=160,
        size=BartSize(vocab_size=3000),
        denoising=Denoising(token_mask_rate=0.0, embedding_noise=0.1, decoder_mask_rate=0.3),
        train=dataclasses.replace(DEMO.train, num_steps=1500, warmup_steps=100),
    ),
    # CXR-IRGen (WACV 2024): bart-base, 512 tokens, mean pooling, batch 8, 20 epochs, AdamW 5e-5.
    "paper": Config(
        data=Path("data/mimic-cxr"),
        out=Path("runs/paper/bart"),
        init_from="facebook/bart-base",
        pooling="mean",
        num_embeddings=1,
        normalize=False,
        max_tokens=512,
        bag_of_words_weight=0.0,
        num_epochs=20.0,
        size=BartSize(50265, 768, 6, 6, 12, 3072),
        denoising=NO_DENOISING,
        train=TrainConfig(
            batch_size=8, learning_rate=5e-5, weight_decay=0.01, betas=(0.9, 0.999), warmup_steps=0
        ),
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Parse the flags and train."""
    config = parse_config(PRESETS, argv, __doc__)
    check_pooling(config.pooling, config.num_embeddings)
    if config.dry_run:
        _describe(config)
    else:
        train(config)


def train(config: Config) -> None:
    import torch

    from data_module.pairs import PairsFolder
    from language_module.build import start_codec, truncated_share
    from language_module.data import ReportSource
    from runtime.runs import RunFolder
    from training.loop import fit

    pairs = PairsFolder.open(config.data)
    train_reports = pairs.split("train").table["report"].tolist()
    validation_reports = pairs.split("validation").table["report"].tolist()
    run = RunFolder.create(config.out, "bart", config, config.overwrite)

    torch.manual_seed(config.train.seed)
    codec = start_codec(config.init_from, config.size, config.codec, train_reports)
    if not torch.accelerator.is_available():
        # A step takes a tenth less time than with torch's plain kernel, the training loop's on a CPU.
        codec.bart.set_attn_implementation("eager")
    cut = truncated_share(codec, train_reports)
    if cut:
        print(f"{cut:.1%} of the reports are longer than --max-tokens {config.max_tokens} and lose their end")

    def objective(model, batch, generator):
        # Validation sees the reports as they are; `model` may be wrapped, so its mode is asked, not set.
        if not model.training:
            return {"loss": model(**batch)}
        noise = {"denoising": config.denoising, "generator": generator}
        return {"loss": model(**batch, **noise, bag_of_words_weight=config.bag_of_words_weight)}

    fit(
        codec,
        objective,
        ReportSource(codec, train_reports, config.bucket_lengths),
        ReportSource(codec, validation_reports),
        with_epochs(config.train, config.num_epochs, len(train_reports)),
        run,
        save=lambda model, folder: model.save_pretrained(folder),
    )


def _describe(config: Config) -> None:
    import torch

    from data_module.splits import count_train_rows
    from language_module.build import build_bart

    def forward(bart: "torch.nn.Module") -> object:
        report = torch.zeros(1, config.max_tokens, dtype=torch.long)
        return bart(input_ids=report, decoder_input_ids=report)

    describe_run(
        config,
        {"bart": lambda: build_bart(config.size, config.size.vocab_size, config.max_tokens)},
        bool(config.train.ema_decay),
        trained=("bart",),
        sizes={"report_embeddings": f"(B, {config.num_embeddings}, {config.size.d_model})"},
        forwards={"bart": forward},
        count_items=lambda: count_train_rows(config.data),
    )


if __name__ == "__main__":
    run_script(main)
