"""CheXbert as a labeler, from the published chexbert.pth (Smit et al., EMNLP 2020): report -> 14 findings.

A BERT-base encoder and 14 linear heads on its first token. 13 heads choose between not mentioned, positive,
negative and uncertain; the head of No Finding between not mentioned and positive. The checkpoint is
{"model_state_dict": {"module.bert. ...", "module.linear_heads.0.weight", ...}}; the sizes of the encoder are
read off its tensors. The words are bert-base-uncased's: vocab.txt (or a tokenizer folder's files) beside the
checkpoint, or the hub's cache.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import BertConfig, BertModel, BertTokenizer

from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from runtime.devices import move
from runtime.weights import check_finite, read_pickle

TOKENIZER = "bert-base-uncased"
MAX_TOKENS = 512
BATCH_SIZE = 32
HEAD_DIM = 64  # of every published BERT size: heads = width / 64
CODES = torch.tensor([float("nan"), POSITIVE, NEGATIVE, UNCERTAIN])  # by class
# The order of the heads: CheXpert's findings, No Finding last.
HEADS = (*(name for name in FINDINGS if name != "No Finding"), "No Finding")


class CheXbert:
    """`CheXbert(path)(reports)` -> labels (N, 14), in the order of FINDINGS."""

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        """Read the checkpoint and the words beside it.

        Raises:
            ValueError: a file that is missing or holds something else, or no words.
        """
        self.path, self.device = Path(path).expanduser(), torch.device(device)
        state = _read_checkpoint(self.path)
        encoder = {k.removeprefix("bert."): v for k, v in state.items() if k.startswith("bert.")}
        # A buffer that older versions of transformers saved.
        encoder.pop("embeddings.position_ids", None)
        try:
            self.model = BertModel(read_bert_config(encoder))
            self.model.load_state_dict(encoder)
            weights = [state[f"linear_heads.{i}.weight"] for i in range(len(HEADS))]
            biases = [state[f"linear_heads.{i}.bias"] for i in range(len(HEADS))]
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{self.path} does not hold CheXbert's weights: {str(error)[:300]}") from error
        move(self.model.requires_grad_(False).eval(), self.device)
        self.heads = [
            (weight.to(self.device), bias.to(self.device))
            for weight, bias in zip(weights, biases, strict=True)
        ]
        self.tokenizer = open_bert_tokenizer(self.path.parent)

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """Label N reports: (N, 14) float32, 1, 0, -1 or NaN. Longer ones are cut at 512 word pieces."""
        texts = [re.sub(r"\s+", " ", text).strip() for text in reports]
        labels = np.full((len(texts), len(FINDINGS)), np.nan, np.float32)
        # Reports of like length together: less padding, the same labels.
        order = sorted((row for row, text in enumerate(texts) if text), key=lambda row: len(texts[row]))
        starts = range(0, len(order), BATCH_SIZE)
        for start in tqdm(starts, desc="CheXbert", unit="batch", disable=len(starts) < 10):
            rows = order[start : start + BATCH_SIZE]
            labels[rows] = self._label([texts[row] for row in rows])
        return labels

    def embed(self, reports: Sequence[str]) -> np.ndarray:
        """Embeddings of N reports: (N, D) float32, the last hidden state of the first token."""
        texts = [re.sub(r"\s+", " ", text).strip() for text in reports]
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            found[rows] = self._encode([texts[row] for row in rows]).float().cpu().numpy()
        return found

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> torch.Tensor:
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.device)
        return self.model(**tokens).last_hidden_state[:, 0]

    @torch.no_grad()
    def _label(self, texts: list[str]) -> np.ndarray:
        first = self._encode(texts)
        columns = {}
        for name, (weight, bias) in zip(HEADS, self.heads, strict=True):
            columns[name] = CODES[(first @ weight.T + bias).argmax(dim=1).cpu()]
        return torch.stack([columns[name] for name in FINDINGS], dim=1).numpy()


def _read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ValueError(f"--labeler chexbert:{path}: no such file. It is the published chexbert.pth")
    saved = read_pickle(path, "the published chexbert.pth")
    state = saved.get("model_state_dict") if isinstance(saved, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no model_state_dict: it is not CheXbert's checkpoint")
    check_finite(state, path)
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def read_bert_config(encoder: dict[str, torch.Tensor]) -> BertConfig:
    """Sizes of a published BERT encoder, read off its tensors; KeyError where one is missing."""
    words, width = encoder["embeddings.word_embeddings.weight"].shape
    layers = {int(key.split(".")[2]) for key in encoder if key.startswith("encoder.layer.")}
    return BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=max(width // HEAD_DIM, 1),
        intermediate_size=len(encoder["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(encoder["embeddings.position_embeddings.weight"]),
    )


def open_bert_tokenizer(folder: Path) -> BertTokenizer:
    """The words of a folder, else those of bert-base-uncased in the hub's cache; ValueError for neither."""
    local = any((folder / name).is_file() for name in ("vocab.txt", "tokenizer.json"))
    try:
        return BertTokenizer.from_pretrained(folder if local else TOKENIZER, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"CheXbert needs the words of {TOKENIZER}: put its vocab.txt into {folder}"
        ) from error
