"""Train a denoiser on cached latents and prompt embeddings: the part that clipSD and clipUViT share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPVisionModelWithProjection

from data_module.pairs import PairsFolder
from data_module.references import ReferenceIndex
from data_module.splits import FoldConfig, fold_pairs
from training import RunFolder, TrainConfig, fit, model_source
from vision_module.clip import load_tokenizer
from vision_module.diffusion import DiffusionConfig, make_objective, make_scheduler
from vision_module.encoding import PromptCache, encode_latents, encode_prompts
from vision_module.film_scores import FilmScoreConfig, FilmScorer
from vision_module.pipeline import VisionModel
from vision_module.prompting import Prompts, num_context_tokens


@dataclass(frozen=True)
class DenoiserConfig:
    """What every denoiser script takes."""

    data: Path = Path("runs/demo/data")
    """Pairs folder; its train split is trained on."""
    autoencoder: str = "runs/demo/autoencoder"
    """Run of train_autoencoder.py, or folder or hub name of an AutoencoderKL."""
    clip: str = "runs/demo/clip"
    """Run of train_clip.py, or folder or hub name of a CLIPModel: text and reference encoder."""
    reference_encoder: str = ""
    """Another CLIPModel for the reference film; empty takes that of --clip. The widths must agree."""
    out: Path = Path("runs/demo/denoiser")
    """Run folder."""
    cache: Path | None = None
    """Where latents and prompts are kept, encoded once for each model and data; None: cache/ beside --out."""
    texts: tuple[str, ...] = ("prompt", "impression_section")
    """Columns to draw an item's text from, with equal chances among those that are not empty."""
    image_size: int = 64
    """Side of the films in pixels."""
    folds: FoldConfig = field(default_factory=FoldConfig)
    scores: FilmScoreConfig = field(default_factory=FilmScoreConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = False
    """Delete a run that is in --out and start anew."""
    dry_run: bool = False
    """Print the resolved config, sizes and memory, and stop."""


# Small batches: at equal films seen, 16 reaches a far lower loss than 64 within minutes.
DEMO_TRAIN = TrainConfig(
    num_steps=3400,
    batch_size=16,
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


class LatentPairs:
    """Items of the cache: latents, one of the texts, and a reference of another patient."""

    def __init__(self, rows: np.ndarray, latents, prompts: PromptCache, references: ReferenceIndex) -> None:
        """`rows` are the rows of one split in the cache; `references` is an index over just these rows."""
        self.rows, self.latents, self.prompts, self.references = rows, latents, prompts, references
        self.text_index = torch.as_tensor(np.asarray(prompts.text_index)[rows].astype(np.int64))
        self.present = (self.text_index >= 0).float()

    def __len__(self) -> int:
        return len(self.rows)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        choice = torch.multinomial(self.present[indices], 1, generator=generator)
        text = self.text_index[indices].gather(1, choice).squeeze(1).numpy()
        reference = self.rows[self.references.draw(indices, generator)]
        rows = self.rows[indices]
        return {
            "latents_mean": torch.as_tensor(np.asarray(self.latents["latents_mean"][rows])),
            "latents_std": torch.as_tensor(np.asarray(self.latents["latents_std"][rows])),
            "text": torch.as_tensor(np.asarray(self.prompts.texts[text])),
            "reference": torch.as_tensor(np.asarray(self.prompts.references[reference])),
        }


def train_denoiser(
    config: DenoiserConfig, kind: str, build: Callable[[int, int, int, int], nn.Module]
) -> None:
    """Encode what is not cached yet, then train and save the whole vision model.

    Args:
        kind: "clipSD" or "clipUViT".
        build: (in_channels, sample_size, context_dim, num_context_tokens) -> denoiser.
    """
    pairs = PairsFolder.open(config.data)
    autoencoder_dir = model_source(config.autoencoder, "autoencoder", "--autoencoder")
    clip_dir = model_source(config.clip, "clip", "--clip")
    reference_dir = clip_dir
    if config.reference_encoder:
        reference_dir = model_source(config.reference_encoder, "clip", "--reference-encoder")
    prompts = load_prompts(clip_dir, reference_dir, config.diffusion)
    run = RunFolder.create(config.out, kind, config, config.overwrite)
    cache = config.cache or config.out.parent / "cache"
    latents = encode_latents(pairs, autoencoder_dir, cache, config.image_size)
    encoded = encode_prompts(pairs, prompts, f"{clip_dir}+{reference_dir}", config.texts, cache)

    pairs = fold_pairs(pairs, config.folds)  # after the encoding, whose cache serves every fold

    def rows_of(split: str) -> LatentPairs:
        rows = np.flatnonzero((pairs.table["split"] == split).to_numpy())
        if not len(rows):
            raise ValueError(f"{config.data} has no row of split {split!r}")
        patients = pairs.table["patient_id"].to_numpy()[rows]
        return LatentPairs(rows, latents, encoded, ReferenceIndex(pairs.labels[rows], patients))

    torch.manual_seed(config.train.seed)
    channels, sample_size = latents["latents_mean"].shape[1:3]
    width = prompts.text_encoder.config.hidden_size
    length = num_context_tokens(config.diffusion.fusion, config.diffusion.text_tokens)
    denoiser = build(channels, sample_size, width, length)
    null_text = prompts.encode_texts([""])
    objective = make_objective(config.diffusion, null_text)

    def make_vision(model: nn.Module) -> VisionModel:
        autoencoder = AutoencoderKL.from_pretrained(autoencoder_dir).eval()
        return VisionModel(autoencoder, model, prompts, make_scheduler(config.diffusion))

    def save(model: nn.Module, folder: Path) -> None:
        make_vision(model).save_pretrained(folder)

    score = None
    if config.scores.score_films:
        score = FilmScorer(make_vision, pairs.split("validation"), config.scores)
    fit(denoiser, objective, rows_of("train"), rows_of("validation"), config.train, run, save, score=score)


def load_prompts(clip_dir: str, reference_dir: str, config: DiffusionConfig) -> Prompts:
    """The text half of one CLIP folder and the vision half of another (or the same) as prompt encoders."""
    return Prompts(
        CLIPTextModel.from_pretrained(clip_dir),
        load_tokenizer(clip_dir),
        CLIPVisionModelWithProjection.from_pretrained(reference_dir),
        CLIPImageProcessor.from_pretrained(reference_dir),
        config.fusion,
        config.text_tokens,
    )
