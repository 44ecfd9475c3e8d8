"""A domain CLIP: films and texts as unit embeddings, by a transformers CLIPModel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoTokenizer, CLIPModel

from evaluation.networks.cache import score_cached
from evaluation.networks.extractors import open_extractor
from runtime.devices import move
from runtime.weights import load_pretrained

BATCH_SIZE = 64


class DomainClip:
    """Unit embeddings of films and texts."""

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        """Open a CLIPModel folder, or a run folder of train_clip.py.

        Raises:
            ValueError: no CLIP there.
        """
        self.images = open_extractor(str(path), device)
        folder = Path(path) / "model" if (Path(path) / "model").is_dir() else Path(path)
        try:
            self.model = load_pretrained(CLIPModel, folder, local_files_only=True, use_safetensors=True)
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"--clip {path} cannot be loaded as a CLIPModel: {error}") from error
        move(self.model.requires_grad_(False).eval(), device)
        self.max_tokens = self.model.text_model.embeddings.position_embedding.num_embeddings

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
            lengths = [len(ids) for ids in self.tokenizer(batch, verbose=False)["input_ids"]]
            cut = {text for text, length in zip(batch, lengths, strict=True) if length > self.max_tokens}
            num_cut += sum(text in cut for text in texts) if cut else 0
            tokens = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self.model.device)
            out: Any = self.model.get_text_features(**tokens)  # a tensor, or an output that holds it
            rows = getattr(out, "pooler_output", out).float()
            rows = torch.nn.functional.normalize(rows, dim=1).cpu().numpy()
            known |= dict(zip(batch, rows, strict=True))
        absent = np.full(self.model.text_projection.out_features, np.nan, np.float32)
        return np.stack([known.get(text, absent) for text in texts]), num_cut
