"""Films and texts in one space, by any model with a tower for each, from local files: what `--clip` takes.

FOLDER              a run of train_clip.py; a transformers model with image and text features (CLIPModel,
                    SiglipModel, VisionTextDualEncoderModel ...); or BioViL-T as it is published
open-clip:FOLDER    an open_clip folder, as BiomedCLIP is published
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from evaluation.networks.biovil import CROPS, BioViLTexts, find_image_weights
from evaluation.networks.cache import score_cached
from evaluation.networks.classifier import FilmClassifier
from evaluation.networks.extractors import OPEN_CLIP, load_open_clip, open_extractor
from runtime.devices import move
from runtime.weights import load_pretrained

BATCH_SIZE = 64


@dataclass(frozen=True)
class TwoTowers:
    """Unit embeddings of films and texts."""

    images: FilmClassifier  # its features are the embedding of a film
    encode: Callable[[list[str]], torch.Tensor]  # N texts -> (N, D)
    count: Callable[[list[str]], list[int]]  # N texts -> tokens of each, uncut
    max_tokens: int  # of a text; longer ones are cut
    kind: str  # such as clip, siglip, biovil-t

    def embed_films(
        self, paths: Sequence[Path | None], cache_dir: Path | None, batch_size: int, progress: str
    ) -> np.ndarray:
        """(N, D) unit rows; NaN for a film that cannot be read."""
        features = score_cached(self.images, paths, cache_dir, batch_size, progress).features
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str], progress: str = "") -> tuple[np.ndarray, int]:
        """(N, D) unit rows, NaN for an empty text; and how many texts were cut at the text tower's length."""
        known, num_cut = {}, 0
        distinct = sorted({text for text in texts if text.strip()}, key=len)
        for start in tqdm(range(0, len(distinct), BATCH_SIZE), desc=progress, disable=not progress):
            batch = distinct[start : start + BATCH_SIZE]
            lengths = self.count(batch)
            cut = {text for text, length in zip(batch, lengths, strict=True) if length > self.max_tokens}
            num_cut += sum(text in cut for text in texts) if cut else 0
            rows = torch.nn.functional.normalize(self.encode(batch).float(), dim=1).cpu().numpy()
            known |= dict(zip(batch, rows, strict=True))
        width = len(next(iter(known.values()))) if known else self.encode(["."]).shape[1]
        absent = np.full(width, np.nan, np.float32)
        return np.stack([known.get(text, absent) for text in texts]), num_cut


def open_two_towers(source: str, device: str | torch.device = "cpu") -> TwoTowers:
    """Open what `--clip` names.

    Raises:
        ValueError: no model with two towers there.
    """
    try:
        images = open_extractor(source, device)
        if source.startswith(OPEN_CLIP):
            return _open_clip_texts(source, images)
        folder = Path(source) / "model" if (Path(source) / "model").is_dir() else Path(source)
        if find_image_weights(folder):
            texts = move(BioViLTexts(folder), device)
            kind = "biovil-t" if images.image_size == CROPS[True] else "biovil"
            return TwoTowers(images, texts, texts.count_tokens, texts.max_tokens, kind)
        return _open_transformers_texts(folder, images)
    except (OSError, ValueError) as error:
        raise ValueError(f"--clip {source} cannot be loaded as a model with two towers: {error}") from error


def _open_transformers_texts(folder: Path, images: FilmClassifier) -> TwoTowers:
    from transformers import AutoModel, AutoTokenizer

    model: Any = load_pretrained(AutoModel, folder, local_files_only=True, use_safetensors=True)
    if not hasattr(model, "get_text_features"):
        raise ValueError(f"{type(model).__name__} has no text tower")
    move(model.requires_grad_(False), images.device)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    positions = getattr(model.config.text_config, "max_position_embeddings", tokenizer.model_max_length)
    longest = min(positions, tokenizer.model_max_length)
    # SigLIP's text tower was trained on texts that are filled up.
    padding = "max_length" if model.config.model_type.startswith("siglip") else True

    def encode(texts: list[str]) -> torch.Tensor:
        tokens = tokenizer(
            texts, padding=padding, truncation=True, max_length=longest, return_tensors="pt"
        ).to(images.device)
        out: Any = model.get_text_features(**tokens)  # a tensor, or an output that holds it
        return getattr(out, "pooler_output", out)

    def count(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]]

    return TwoTowers(images, encode, count, longest, model.config.model_type)


def _open_clip_texts(source: str, images: FilmClassifier) -> TwoTowers:
    import open_clip

    model, folder = load_open_clip(source, images.device)
    tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
    words = getattr(tokenizer, "tokenizer", None)  # of a transformers tokenizer; else open_clip's own

    def encode(texts: list[str]) -> torch.Tensor:
        return model.encode_text(tokenizer(texts).to(images.device))

    def count(texts: list[str]) -> list[int]:
        if words is not None:
            return [len(ids) for ids in words(texts)["input_ids"]]
        return [len(tokenizer.encode(text)) + 2 for text in texts]  # and both ends

    return TwoTowers(images, encode, count, tokenizer.context_length, "open-clip")
