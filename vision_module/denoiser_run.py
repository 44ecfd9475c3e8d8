"""Train a denoiser on cached latents and prompts: the part that clipSD and clipUViT share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from data_module.pairs import PairsFolder
from data_module.splits import FoldConfig, fold_pairs
from runtime.dry_run import describe_run
from runtime.runs import RunFolder, model_source
from training import TrainConfig, fit
from vision_module.adapters import LoraConfig, add_adapters
from vision_module.clip import NUM_TOKENS
from vision_module.denoiser_data import make_sources
from vision_module.diffusion import DiffusionConfig, PromptedDenoiser, make_objective, make_scheduler
from vision_module.encoding import encode_latents
from vision_module.pipeline import Sources, VisionModel, load_prompts
from vision_module.prompting import num_context_tokens
from vision_module.validation import FilmScoreConfig, FilmScorer, Judge

Build = Callable[[int, int, int, int], nn.Module]
# Runs whose model folder holds a text encoder and its tokenizer.
ENCODER_RUNS = ("clip", "clipSD", "clipUViT")


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
    out: Path = Path("runs/demo/denoiser")
    """Run folder."""
    cache: Path | None = None
    """Where latents and prompts are kept, encoded once for each model and data; None: cache/ beside --out."""
    texts: tuple[str, ...] = ("prompt", "impression_section")
    """Columns to draw an item's text from, with equal chances among those that are not empty."""
    num_sentences: int = 0
    """Above 0: draw up to this many sentences of those columns, as fit, and encode them in every step."""
    num_tokens: int = NUM_TOKENS
    """Tokens of a text; the rest of a longer one is cut in training."""
    image_size: int = 64
    """Side of the films in pixels."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    folds: FoldConfig = field(default_factory=FoldConfig)
    scores: FilmScoreConfig = field(default_factory=FilmScoreConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    dry_run_latents: tuple[int, int, int] = (4, 16, 16)
    """Latents (C, H, W) that --dry-run assumes; a run takes them from its autoencoder."""
    dry_run_width: int = 128
    """Width of the text that --dry-run assumes; a run takes it from its text encoder."""
    overwrite: bool = False
    """Delete a run that is in --out and start anew."""
    dry_run: bool = False
    """Print the resolved config, sizes and memory, and stop."""


# Small batches: at equal films seen, 16 reaches a far lower loss than 64 within minutes. Muon needs a third
# of AdamW's steps to the same loss.
DEMO_TRAIN = TrainConfig(
    num_steps=2800,
    batch_size=16,
    optimizer="muon",
    learning_rate=2e-3,
    ema_decay=0.997,
    validate_every=1200,
    num_validation_batches=25,
)
# CXR-IRGen (WACV 2024), sec. 4.1: AdamW 5e-5, weight decay 0.01, batch 32, 10 epochs of its PA films.
PAPER_TRAIN = TrainConfig(
    num_steps=25_000,
    batch_size=32,
    learning_rate=5e-5,
    betas=(0.9, 0.999),
    schedule="constant",
    warmup_steps=0,
    checkpoint_every=1000,
)


def describe_denoiser(config: DenoiserConfig, build: Build, frozen: bool = False) -> None:
    """Print what a run would be (--dry-run); `frozen` where adapters are trained and not the denoiser."""
    (channels, *_), width = config.dry_run_latents, config.dry_run_width
    diffusion = config.diffusion
    tokens = num_context_tokens(diffusion.fusion, diffusion.text_tokens, config.num_tokens)
    models = {"denoiser": lambda: build(channels, config.dry_run_latents[1], width, tokens)}
    sizes = {"latents": f"(B, {config.dry_run_latents})", "context": f"(B, {tokens}, {width})"}
    describe_run(config, models, bool(config.train.ema_decay), () if frozen else ("denoiser",), sizes)


def train_denoiser(
    config: DenoiserConfig,
    kind: str,
    build: Build,
    lora: LoraConfig | None = None,
    init_from: str = "",
    judge: Judge | None = None,
) -> None:
    """Encode what is not cached yet, then train and save the whole vision model.

    Args:
        kind: "clipSD" or "clipUViT".
        build: (in_channels, sample_size, context_dim, num_context_tokens) -> denoiser.
        lora: with `lora.lora`, adapters are trained in the place of the denoiser.
        init_from: folder or hub name of the pipeline whose U-Net the adapters belong to.
        judge: further scores of the films drawn in validation.
    """
    lora = lora or LoraConfig()
    pairs = PairsFolder.open(config.data)
    autoencoder_dir = model_source(config.autoencoder, "autoencoder", "--autoencoder")
    clip_dir = model_source(config.clip, ENCODER_RUNS, "--clip")
    reference_dir = clip_dir
    if config.reference_encoder:
        reference_dir = model_source(config.reference_encoder, ENCODER_RUNS, "--reference-encoder")
    diffusion = config.diffusion
    scheduler = make_scheduler(diffusion)
    prompts = load_prompts(
        clip_dir, reference_dir, diffusion.fusion, diffusion.text_tokens, config.num_tokens
    ).requires_grad_(False)
    run = RunFolder.create(config.out, kind, config, config.overwrite)
    cache = config.cache or config.out.parent / "cache"
    latents = encode_latents(pairs, autoencoder_dir, cache, config.image_size)
    pairs = fold_pairs(pairs, config.folds)  # after the encoding, whose latents serve every fold
    source = f"{clip_dir}+{reference_dir}"
    trained_text = lora.lora and lora.lora_text_encoder
    sources = make_sources(
        pairs, latents, prompts, source, config.texts, cache, config.num_sentences, trained_text
    )

    torch.manual_seed(config.train.seed)
    channels, sample_size = latents["latents_mean"].shape[1:3]
    denoiser = build(channels, sample_size, prompts.width, prompts.num_context_tokens)
    groups = add_adapters(denoiser, prompts.text_encoder, lora) if lora.lora else ()
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
        if trained_text:
            prompts.text_encoder.gradient_checkpointing_enable({"use_reentrant": False})
    model, null_text = denoiser, prompts.encode_texts([""])
    if config.num_sentences or trained_text:
        model, null_text = PromptedDenoiser(denoiser, prompts), prompts.tokenize([""])

    def make_vision(model: nn.Module) -> VisionModel:
        trained = model.denoiser if isinstance(model, PromptedDenoiser) else model
        return VisionModel(AutoencoderKL.from_pretrained(autoencoder_dir).eval(), trained, prompts, scheduler)

    def save(model: nn.Module, folder: Path) -> None:
        vision = make_vision(model)
        if lora.lora and lora.lora_export == "adapter":
            vision.save_adapter(folder, Sources(init_from, autoencoder_dir, clip_dir, reference_dir))
        else:
            vision.save_pretrained(folder)

    objective = make_objective(diffusion, null_text)
    score = None
    if config.scores.score_films:
        score = FilmScorer(make_vision, pairs.split("validation"), config.scores, judge)
    fit(model, objective, *sources, config.train, run, save, groups, score)
