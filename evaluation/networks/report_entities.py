"""Medical entities in reports and what they mean: the two networks of RaTEScore, from transformers folders.

RaTE-NER (Zhao et al., EMNLP 2024) tags the words of a sentence with O, or with B- (begins) and I- (inside) of
five types. BioLORD (Remy et al., 2023), or another text encoder, embeds an entity by its first token.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer

from data_module.sentences import split_sentences
from runtime.devices import move
from runtime.weights import load_pretrained

TYPES = ("ANATOMY", "ABNORMALITY", "DISEASE", "NON-ABNORMALITY", "NON-DISEASE")
MIN_CHARACTERS = 3  # of a sentence; shorter ones are left out, as published
MAX_SENTENCE, MAX_ENTITY = 512, 30  # tokens, as published
BATCH_SIZE = 32

Entity = tuple[str, str]  # its words and its type
Span = tuple[int, int, str]  # first and last token of an entity, and its type


class EntityTagger:
    """`EntityTagger(folder)(reports)` -> the entities of each report, in its order."""

    def __init__(self, folder: str | Path, device: str | torch.device = "cpu") -> None:
        """Open a token classifier whose labels are O and B- and I- of TYPES.

        Raises:
            ValueError: no such model, or one with other labels.
        """
        self.tokenizer, self.model = _open(AutoModelForTokenClassification, folder, "")
        self.tokenizer.padding_side = "right"
        move(self.model.requires_grad_(False), device)
        names = self.model.config.id2label
        self.tags = [str(names[place]).upper() for place in range(len(names))]
        known = {"O", *(f"{end}-{kind}" for kind in TYPES for end in "BI")}
        if not known >= set(self.tags) >= {f"B-{kind}" for kind in TYPES}:
            raise ValueError(
                f"--ratescore {folder}: its labels are {', '.join(self.tags[:4])} ...; RaTE-NER's are O "
                f"and B- and I- of {', '.join(TYPES)}"
            )

    def __call__(self, reports: Sequence[str]) -> list[list[Entity]]:
        """Entities of N reports, sentence by sentence; a sentence that comes again is tagged once."""
        sentences = [[s for s in split_sentences(text) if len(s) >= MIN_CHARACTERS] for text in reports]
        distinct = sorted({sentence for found in sentences for sentence in found}, key=len)
        known: dict[str, list[Entity]] = {}
        for batch in _batches(distinct, "entities"):
            known |= dict(zip(batch, self._tag(batch), strict=True))
        return [[entity for sentence in found for entity in known[sentence]] for found in sentences]

    @torch.no_grad()
    def _tag(self, sentences: list[str]) -> list[list[Entity]]:
        cut = {"padding": True, "truncation": True, "max_length": MAX_SENTENCE, "return_tensors": "pt"}
        inputs = self.tokenizer(sentences, **cut).to(self.model.device)
        best = self.model(**inputs).logits.argmax(dim=2).tolist()
        found = []
        for ids, labels, length in zip(
            inputs["input_ids"].tolist(), best, inputs["attention_mask"].sum(dim=1).tolist(), strict=True
        ):
            tokens = self.tokenizer.convert_ids_to_tokens(ids[:length])
            spans = find_spans([self.tags[label] for label in labels[:length]])
            found.append(
                [
                    (self.tokenizer.convert_tokens_to_string(tokens[first : last + 1]).strip(), kind)
                    for first, last, kind in spans
                ]
            )
        return found


def find_spans(tags: Sequence[str]) -> list[Span]:
    """Entities of a sentence: a B- and the I- that follow it, whatever their types.

    Args:
        tags: of its tokens, the separators at both ends included. Their own tags count for nothing but this,
            as in the published code: an entity that is open at the end is lost where the last separator is
            tagged I- and another entity ends right before this one.
    """
    spans: list[Span] = []
    first, kind, touching = None, "", False
    for place in range(1, len(tags) - 1):
        tag, following = tags[place], tags[place + 1]
        if tag.startswith("B-"):
            first, kind = place, tag[2:]
        if tag == "O" or following.startswith("I-"):
            continue
        if first is not None:
            spans.append((first, place, kind))
        touching = following.startswith("B-")
        first = place if touching else None
    if first is not None and not touching:
        spans.append((first, len(tags) - 2, kind))
    return spans


class EntityEncoder:
    """`EntityEncoder(folder)(words)` -> unit embeddings (N, D): the last hidden state of the first token."""

    def __init__(self, folder: str | Path, device: str | torch.device = "cpu") -> None:
        """Open a text encoder. Raises ValueError where there is none."""
        self.tokenizer, self.model = _open(AutoModel, folder, "pooler")
        move(self.model.requires_grad_(False), device)

    def __call__(self, words: Sequence[str]) -> np.ndarray:
        """(N, D) float32 unit rows; words that come again are encoded once."""
        distinct = sorted(set(words), key=len)
        known: dict[str, np.ndarray] = {}
        for batch in _batches(distinct, "entity embeddings"):
            known |= dict(zip(batch, self._encode(batch), strict=True))
        return np.stack([known[word] for word in words]) if words else np.empty((0, 0), np.float32)

    @torch.no_grad()
    def _encode(self, words: list[str]) -> np.ndarray:
        cut = {"padding": True, "truncation": True, "max_length": MAX_ENTITY, "return_tensors": "pt"}
        inputs = self.tokenizer(words, **cut).to(self.model.device)
        rows = self.model(**inputs).last_hidden_state[:, 0].float()
        return torch.nn.functional.normalize(rows, dim=1).cpu().numpy()


def find_nearest(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each unit row of (N, D) the nearest one of (M, D): its cosine (N,) and its place (N,).

    Words that a report names twice, as of two types, tie: torch's topk decides, as in the published code.
    """
    rows = torch.from_numpy(np.ascontiguousarray(other))
    found = [torch.topk(rows @ row, 1) for row in torch.from_numpy(np.ascontiguousarray(own))]
    cosines, places = (torch.cat([pair[place] for pair in found]).numpy() for place in (0, 1))
    return cosines, places


def _open(kind: Any, folder: str | Path, optional: str) -> tuple[Any, Any]:
    """Tokenizer and model of a folder."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = load_pretrained(kind, folder, optional, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"--ratescore {folder} cannot be loaded: {error}") from error
    return tokenizer, model


def _batches(texts: Sequence[str], name: str) -> Any:
    """Batches of texts, with a bar where there are many."""
    starts = range(0, len(texts), BATCH_SIZE)
    bar = tqdm(starts, desc=name, unit="batch", disable=len(starts) < 10)
    return (list(texts[start : start + BATCH_SIZE]) for start in bar)
