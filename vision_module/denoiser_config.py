"""Settings that both denoiser scripts share. Imports nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path

from data_module.config import FoldConfig
from runtime.config import setting
from training.config import TrainConfig
from vision_module.config import NUM_TOKENS, AlignmentConfig, DiffusionConfig

# Kinds of run whose model folder draws films: a Stable Diffusion's or a U-ViT.
DENOISER_RUNS = ("clipSD", "clipUViT")
# Those whose model folder holds a text encoder and its tokenizer.
ENCODER_RUNS = ("clip", *DENOISER_RUNS)


@dataclass(frozen=True)
class FilmScoreConfig:
    """Films drawn in validation."""

    score_films: int = 0
    """Films of the validation split to draw anew at every --score-every, for SSIM and PSNR against the film
    of the same row: offered for parity with CXRGenAI, no measure of text-to-image. 0 draws none."""
    score_steps: int = 10
    """Solver steps of these films."""
    score_guidance: float = 2.0
    """Their guidance scale."""
    score_classifier: str = ""
    """Run of train_classifier.py, for FID and AUROC of these films: the better measures to stop by."""

    def __post_init__(self) -> None:
        if self.score_classifier and not self.score_films:
            raise ValueError("--score-classifier scores drawn films: pass --score-films, such as 64")


@dataclass(frozen=True)
class DenoiserConfig:
    """What every denoiser script takes."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; its train split is trained on."""
    autoencoder: str = "runs/demo/autoencoder"
    """Run of train_autoencoder.py, or folder or hub name of an AutoencoderKL."""
    clip: str = "runs/demo/clip"
    """Text encoder, and reference encoder where it has one: run of train_clip.py or of a denoiser, or folder
    or hub name of a CLIP, an OpenCLIP (BiomedCLIP), a BERT (with --fusion text) or a Stable Diffusion."""
    reference_encoder: str = ""
    """Another CLIP or OpenCLIP for the reference film; empty takes that of --clip. The widths must agree."""
    out: Path = setting(Path("runs/demo/denoiser"), identity=False)
    """Run folder."""
    cache: Path | None = setting(None, identity=False)
    """Where latents and prompts are kept, encoded once for each model and data; None: cache/ beside --out."""
    texts: tuple[str, ...] = ("prompt", "impression_section", "free_prompt", "free_prompt_2")
    """Columns to draw an item's text from, with equal chances among those that are not empty; free_prompt
    and its kin are put together from the row, see data_module/free_prompts.py."""
    num_sentences: int = 0
    """Above 0: draw up to this many sentences of those columns, as fit, and encode them in every step."""
    num_tokens: int = NUM_TOKENS
    """Tokens of a text; the rest of a longer one is cut in training."""
    image_size: int = 64
    """Side of the films in pixels."""
    num_epochs: float = 0.0
    """Passes over the train split; above 0 it sets the number of steps."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    folds: FoldConfig = field(default_factory=FoldConfig)
    scores: FilmScoreConfig = field(default_factory=FilmScoreConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    dry_run_latents: tuple[int, int, int] = setting((4, 16, 16), identity=False)
    """Latents (C, H, W) that --dry-run assumes; a run takes them from its autoencoder."""
    dry_run_width: int = setting(128, identity=False)
    """Width of the text that --dry-run assumes; a run takes it from its text encoder."""
    overwrite: bool = setting(False, identity=False)
    """Delete a run that is in --out and start anew."""
    dry_run: bool = setting(False, identity=False)
    """Print the resolved config, sizes and memory, and stop."""


# Small batches: at equal films seen, 16 reaches a far lower loss than 64 within minutes. Muon needs a third
# of AdamW's steps to the same loss.
DEMO_TRAIN = TrainConfig(
    num_steps=1200,
    batch_size=16,
    optimizer="muon",
    learning_rate=3e-3,
    ema_decay=0.997,
    validate_every=0,
    num_validation_batches=25,
)
# CXR-IRGen (WACV 2024), sec. 4.1: AdamW 5e-5, weight decay 0.01, batch 32, 10 epochs of its PA films (25,000
# steps of its own 80,000).
PAPER_EPOCHS = 10.0
PAPER_TRAIN = TrainConfig(
    num_steps=25_000,
    batch_size=32,
    learning_rate=5e-5,
    betas=(0.9, 0.999),
    schedule="constant",
    warmup_steps=0,
    checkpoint_every=1000,
)
