"""What the frozen encoders make of a pairs folder, once: latents, and text and reference embeddings."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from data_module.cache import CacheWriter, LatentCache, cache_key, find_distinct_texts, model_hash
from data_module.images import load_images
from data_module.pairs import PairsFolder
from vision_module.autoencoder import encode_films
from vision_module.prompting import Prompts


def pick_device() -> torch.device:
    """The accelerator of this process where there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator and "LOCAL_RANK" in os.environ:  # of a launcher: each process encodes on its own
        return torch.device(accelerator.type, int(os.environ["LOCAL_RANK"]))
    return accelerator or torch.device("cpu")


def _identity(source: str) -> str:
    """Content hash of a model folder; a hub name stands for itself."""
    return model_hash(source) if Path(source).is_dir() else source


def encode_latents(
    pairs: PairsFolder,
    model_dir: str | Path,
    cache_root: Path,
    image_size: int | None = None,
    batch_size: int = 64,
) -> LatentCache:
    """Mean and deviation of every film's scaled latents, in the order of `pairs.table`.

    Args:
        model_dir: folder or hub name of an AutoencoderKL.
        image_size: side in pixels; None takes the autoencoder's own.

    Returns:
        A cache with `latents_mean` and `latents_std`, (N, C, H, W) float16 memory maps.
    """
    autoencoder = AutoencoderKL.from_pretrained(model_dir).eval()
    size = image_size or autoencoder.config.sample_size
    models = {"autoencoder": _identity(str(model_dir))}
    key = cache_key(pairs.manifest_hash(), models, {"kind": "latents", "image_size": size})
    if LatentCache.exists(cache_root, key):
        return LatentCache.open(cache_root, key)
    device = pick_device()
    autoencoder.to(device)
    paths = pairs.image_paths

    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        images = load_images([paths[item] for item in items], size).to(device)
        mean, std = encode_films(autoencoder, images)
        return {"latents_mean": mean.cpu().numpy(), "latents_std": std.cpu().numpy()}

    with CacheWriter(cache_root, key).lock() as writer:
        writer.fill("latents", len(pairs), encode, batch_size)
        return writer.finish()


@dataclass(frozen=True)
class PromptCache:
    """Embeddings of every film as a reference and of every distinct text.

    Attributes:
        texts: (T, L, D) float16.
        text_index: (N, F) int32, field f of row n is texts[text_index[n, f]]; -1 where it is empty.
        references: (N, D) float16, pooled.
    """

    texts: np.ndarray
    text_index: np.ndarray
    references: np.ndarray


def encode_prompts(
    pairs: PairsFolder,
    prompts: Prompts,
    source: str,
    columns: tuple[str, ...],
    cache_root: Path,
    batch_size: int = 64,
) -> PromptCache:
    """Text and reference embeddings of a pairs folder through the cache.

    Args:
        source: identity of the encoders: their folders or hub names, joined by "+".
        columns: text columns of the table.

    Raises:
        ValueError: a column that is not there, or a row in which all of them are empty.
    """
    unknown = [name for name in columns if name not in pairs.table]
    if unknown:
        raise ValueError(f"--texts {unknown[0]}: {pairs.root}/metadata.csv has no such column")
    fields = pairs.table[list(columns)].fillna("").to_numpy(dtype=str)
    empty = (fields == "").all(axis=1)
    if empty.any():
        row = int(np.flatnonzero(empty)[0]) + 2
        raise ValueError(f"{pairs.root}/metadata.csv row {row}: {', '.join(columns)} are all empty")
    texts, index = find_distinct_texts(*fields.T.tolist())
    index[fields == ""] = -1
    models = {"clip": "+".join(_identity(part) for part in source.split("+"))}
    settings = {"kind": "prompts", "columns": columns, "text_tokens": prompts.text_tokens}
    key = cache_key(pairs.manifest_hash(), models, settings)
    if not LatentCache.exists(cache_root, key):
        device = pick_device()
        prompts.to(device)
        paths, side = pairs.image_paths, prompts.feature_extractor.crop_size["height"]

        def encode_texts(items: np.ndarray) -> dict[str, np.ndarray]:
            return {"texts": prompts.encode_texts([texts[item] for item in items]).cpu().numpy()}

        def encode_references(items: np.ndarray) -> dict[str, np.ndarray]:
            images = load_images([paths[item] for item in items], side)
            return {"references": prompts.encode_references(images).cpu().numpy()}

        with CacheWriter(cache_root, key).lock() as writer:
            writer.fill("texts", len(texts), encode_texts, batch_size)
            writer.fill("references", len(pairs), encode_references, batch_size)
            writer.put("text_index", index)
            writer.finish()
        prompts.to("cpu")
    cache = LatentCache.open(cache_root, key)
    return PromptCache(cache["texts"], np.asarray(cache["text_index"]), cache["references"])
