"""What a denoiser trains on: latents out of the cache, a text, and a reference film of another patient."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from data_module.cache import LatentCache
from data_module.item_texts import ItemTexts
from data_module.pairs import PairsFolder
from data_module.references import ReferenceIndex
from vision_module.alignment import AlignmentTargets
from vision_module.encoding import PromptCache, encode_prompts
from vision_module.prompting import Prompts


class Texts(Protocol):
    """Texts of the rows of a table, as the part of a batch that the objective reads."""

    def draw(self, rows: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]: ...


class CachedTexts:
    """One of each row's columns, encoded already."""

    def __init__(self, prompts: PromptCache) -> None:
        assert prompts.texts is not None
        assert prompts.text_index is not None
        self.texts = prompts.texts
        self.text_index = torch.as_tensor(prompts.text_index.astype(np.int64))
        self.present = (self.text_index >= 0).float()

    def draw(self, rows: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        choice = torch.multinomial(self.present[rows], 1, generator=generator)
        text = self.text_index[rows].gather(1, choice).squeeze(1).numpy()
        return {"text": torch.as_tensor(np.asarray(self.texts[text]))}


class TokenizedTexts:
    """Texts that the text encoder reads within the training step: it is trained, or they are drawn anew."""

    def __init__(self, texts: ItemTexts, prompts: Prompts) -> None:
        self.texts, self.prompts = texts, prompts

    def draw(self, rows: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"token_ids": self.prompts.tokenize(self.texts.draw(rows, generator))}


class LatentPairs:
    """Items of one split."""

    def __init__(
        self,
        rows: np.ndarray,
        latents: LatentCache,
        texts: Texts,
        references: np.ndarray | None,
        index: ReferenceIndex | None,
        targets: AlignmentTargets | None = None,
    ) -> None:
        """
        Args:
            rows: the split's rows of the table.
            references: (N, D) embeddings of every row of the table; None where no reference is read.
            index: over just these rows.
            targets: maps of every row of the table that an `AlignedDenoiser` is drawn to.
        """
        self.targets = targets
        self.rows, self.latents, self.texts = rows, latents, texts
        self.references, self.index = references, index

    def __len__(self) -> int:
        return len(self.rows)

    def get_batch(self, indices: np.ndarray, generator: torch.Generator) -> dict[str, torch.Tensor]:
        rows = self.rows[indices]
        batch = {
            name: torch.as_tensor(np.asarray(self.latents[name][rows]))
            for name in ("latents_mean", "latents_std")
        }
        batch |= self.texts.draw(rows, generator)
        if self.targets is not None:
            batch["features"] = self.targets.read(rows)
        if self.references is not None and self.index is not None:
            drawn = self.rows[self.index.draw(indices, generator)]
            batch["reference"] = torch.as_tensor(np.asarray(self.references[drawn]))
        return batch


def make_sources(
    pairs: PairsFolder,
    latents: LatentCache,
    prompts: Prompts,
    source: str,
    columns: tuple[str, ...],
    fields: np.ndarray,
    cache_root: Path,
    num_sentences: int = 0,
    tokenized: bool = False,
    targets: AlignmentTargets | None = None,
) -> tuple[LatentPairs, LatentPairs]:
    """Train and validation data of a pairs folder; what can be encoded once is.

    Args:
        source: identity of the prompt encoders, see `encode_prompts`.
        columns: names of text columns.
        fields: (N, F) str, what is in them, see `text_columns`.
        num_sentences: 0 draws a whole column; else up to this many sentences, which no cache can hold.
        targets: maps for an `AlignedDenoiser`.
        tokenized: give token ids even of whole columns, for a text encoder that is trained.

    Raises:
        ValueError: a split without rows.
    """
    tokenized = tokenized or num_sentences > 0
    cached = (columns, fields) if not tokenized else ((), fields[:, :0])
    encoded = encode_prompts(pairs, prompts, source, *cached, cache_root)
    texts: Texts
    if tokenized:
        tokenizer = prompts.tokenizer
        texts = TokenizedTexts(
            ItemTexts(
                fields,
                num_sentences,
                lambda text: len(tokenizer(text, verbose=False)["input_ids"]),
                tokenizer.model_max_length,
            ),
            prompts,
        )
    else:
        texts = CachedTexts(encoded)
    sources = []
    for split in ("train", "validation"):
        rows = pairs.split_rows(split)
        index = None
        if encoded.references is not None:
            index = ReferenceIndex(pairs.labels[rows], pairs.table["patient_id"].to_numpy()[rows].tolist())
        sources.append(LatentPairs(rows, latents, texts, encoded.references, index, targets))
    return sources[0], sources[1]
