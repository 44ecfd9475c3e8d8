"""What the frozen encoders make of a pairs folder, once: latents, and text and reference embeddings."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL

from data_module.cache import CacheWriter, LatentCache, cache_key, find_distinct_texts, open_or_write
from data_module.free_prompts import is_free_prompt
from data_module.images import load_images
from data_module.pairs import PairsFolder
from data_module.prompt_facts import NUM_FACTS, read_facts, split_facts
from runtime.contents import model_hash
from runtime.devices import move, pick_device
from runtime.weights import load_pretrained
from vision_module.autoencoder import encode_films
from vision_module.prompting import FACT_SCALE, Prompts


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
        batch_size: films at once up to 128x128; of larger ones as many as have the same pixels together.

    Returns:
        A cache with `latents_mean` and `latents_std`, (N, C, H, W) float16 memory maps.
    """
    autoencoder = load_pretrained(AutoencoderKL, model_dir)
    size = image_size or autoencoder.config["sample_size"]
    models = {"autoencoder": _identity(str(model_dir))}
    key = cache_key(pairs.manifest_hash(), models, {"kind": "latents", "image_size": size})
    device, paths = pick_device(), pairs.image_paths

    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        images = load_images([paths[item] for item in items], size).to(device)
        mean, std = encode_films(autoencoder, images)
        return {"latents_mean": mean.cpu().numpy(), "latents_std": std.cpu().numpy()}

    def write(writer: CacheWriter) -> None:
        move(autoencoder, device)
        films_at_once = max(1, min(batch_size, batch_size * 128**2 // size**2))
        writer.fill("latents", len(pairs), encode, films_at_once)

    return open_or_write(cache_root, key, write)


@dataclass(frozen=True)
class PromptCache:
    """Embeddings of every film as a reference and of every distinct text.

    Attributes:
        texts: (T, L, D) float16; None where no text column was asked for.
        text_index: (N, F) int32, field f of row n is texts[text_index[n, f]]; -1 where it is empty.
        references: (N, D) float16, pooled; None where the fusion takes no reference.
    """

    texts: np.ndarray | None
    text_index: np.ndarray | None
    references: np.ndarray | None


def encode_prompts(
    pairs: PairsFolder,
    prompts: Prompts,
    source: str,
    columns: tuple[str, ...],
    fields: np.ndarray,
    cache_root: Path,
    batch_size: int = 64,
) -> PromptCache:
    """Text and reference embeddings of a pairs folder through the cache.

    Args:
        source: identity of the encoders: their folders or hub names, joined by "+".
        columns: names of text columns; empty where training encodes its texts itself.
        fields: (N, F) str, what is in them, see `text_columns`.
    """
    with_references = prompts.fusion != "text"
    if not columns and not with_references:
        return PromptCache(None, None, None)
    models = {"encoders": "+".join(_identity(part) for part in source.split("+"))}
    texts, index = find_distinct_texts(*fields.T.tolist()) if columns else ([], fields)
    facts = read_facts(texts) if prompts.text_tokens == "facts" else None
    made = fields[:, [is_free_prompt(name) for name in columns]]
    settings = {
        "kind": "prompts",
        "columns": columns,
        **({"free_prompts": _hash(made)} if made.size else {}),
        **({"facts": _hash(facts), "layout": _layout(prompts.width)} if facts is not None else {}),
        "text_tokens": prompts.text_tokens,
        "num_tokens": prompts.tokenizer.model_max_length,
        "references": with_references,
    }
    key = cache_key(pairs.manifest_hash(), models, settings)

    def write(writer: CacheWriter) -> None:
        prompts.to(pick_device())
        if columns:
            index[fields == ""] = -1
            _write_texts(writer, prompts, texts, facts, batch_size)
            writer.put("text_index", index)
        if with_references:
            _write_references(writer, prompts, pairs.image_paths, batch_size)
        prompts.to("cpu")

    cache = open_or_write(cache_root, key, write)
    return PromptCache(
        cache["texts"] if columns else None,
        np.asarray(cache["text_index"]) if columns else None,
        cache["references"] if with_references else None,
    )


def _layout(width: int) -> str:
    """How facts become tokens, which may change too: the tokens of facts that are all different."""
    probe = np.arange(1.0, NUM_FACTS + 1.0, dtype=np.float32)[None]
    return _hash(FACT_SCALE * split_facts(probe, width))


def _hash(made: np.ndarray) -> str:
    """Of what rules made of a table, which may change."""
    return hashlib.sha256("\0".join(map(str, made.ravel().tolist())).encode()).hexdigest()[:16]


def _write_texts(
    writer: CacheWriter, prompts: Prompts, texts: list[str], facts: np.ndarray | None, batch_size: int
) -> None:
    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        known = None if facts is None else facts[items]
        return {"texts": prompts.encode_texts([texts[item] for item in items], known).cpu().numpy()}

    writer.fill("texts", len(texts), encode, batch_size)


def _write_references(writer: CacheWriter, prompts: Prompts, paths: list[Path], batch_size: int) -> None:
    side = prompts.reference_size

    def encode(items: np.ndarray) -> dict[str, np.ndarray]:
        images = load_images([paths[item] for item in items], side)
        return {"references": prompts.encode_references(images).cpu().numpy()}

    writer.fill("references", len(paths), encode, batch_size)
