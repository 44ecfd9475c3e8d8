"""Report scores that need more than word counts: METEOR (Java), BERTScore and RadGraph F1 (local models).

Each is asked for by a flag or by what is installed; nothing is downloaded.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from evaluation.reports.overlap import normalise
from runtime.weights import load_pretrained

BATCH_SIZE = 64


def score_meteor(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """METEOR 1.5 of each of N pairs, (N,), by pycocoevalcap.

    Texts are normalised to one line first: METEOR reads line by line, and waits for ever after a line break.

    Raises:
        ValueError: there is no Java to run it.
    """
    if shutil.which("java") is None:
        raise ValueError("--meteor runs a Java program, and there is no `java`: install one, or leave it out")
    from pycocoevalcap.meteor.meteor import Meteor

    gts = {row: [normalise(text)] for row, text in enumerate(references)}
    res = {row: [normalise(text)] for row, text in enumerate(hypotheses)}
    scorer = Meteor()
    return np.asarray(scorer.compute_score(gts, res)[1])


class BertScore:
    """BERTScore (Zhang et al., ICLR 2020): greedy matching of word pieces, F1; no idf, no rescaling."""

    def __init__(self, folder: str | Path, layer: int = -1, device: str | torch.device = "cpu") -> None:
        """Open a transformers text model; `layer` is an index of its hidden states, -1 the last.

        Raises:
            ValueError: no such model, or no such layer.
        """
        from transformers import AutoModel, AutoTokenizer

        self.device = torch.device(device)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = load_pretrained(
                AutoModel, folder, "pooler", local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"--bert-score {folder} cannot be loaded: {error}") from error
        num_layers = self.model.config.num_hidden_layers
        if not -num_layers - 1 <= layer <= num_layers:
            raise ValueError(f"--bert-score-layer {layer}: the model has {num_layers} layers")
        self.layer = layer % (num_layers + 1)
        self.max_tokens = min(self.tokenizer.model_max_length, self._num_positions())
        self.model.requires_grad_(False).eval().to(self.device)

    def _num_positions(self) -> int:
        config = self.model.config
        # RoBERTa's positions start after the padding index.
        shift = config.pad_token_id + 1 if "roberta" in config.model_type else 0
        return config.max_position_embeddings - shift

    def __call__(self, references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
        """(N,) F1 of each pair; an empty report scores 0."""
        texts = sorted({*references, *hypotheses}, key=len)
        known: dict[str, torch.Tensor] = {}
        for start in tqdm(range(0, len(texts), BATCH_SIZE), desc="BERTScore", unit="batch"):
            known |= self._embed(texts[start : start + BATCH_SIZE])
        return np.array([_match(known[r], known[h]) for r, h in zip(references, hypotheses, strict=True)])

    @torch.no_grad()
    def _embed(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """text -> (tokens, D) unit vectors, a special token at either end."""
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        hidden = self.model(**tokens, output_hidden_states=True).hidden_states[self.layer]
        unit = torch.nn.functional.normalize(hidden.float(), dim=-1).cpu()
        kept = tokens["attention_mask"].bool().cpu()
        return {text: rows[mask] for text, rows, mask in zip(texts, unit, kept, strict=True)}


def _match(reference: torch.Tensor, hypothesis: torch.Tensor) -> float:
    """F1 of one pair. As in the authors' code, words may match a special token but none is averaged over."""
    if min(len(reference), len(hypothesis)) <= 2:
        return 0.0
    similarity = hypothesis @ reference.T
    precision = similarity[1:-1].max(dim=1).values.mean()
    recall = similarity[:, 1:-1].max(dim=0).values.mean()
    return float(2.0 * precision * recall / (precision + recall))


def score_radgraph(references: Sequence[str], hypotheses: Sequence[str], model: str) -> np.ndarray:
    """RadGraph F1 (reward "partial", Delbrouck et al., EMNLP Findings 2022) of each pair, (N,).

    Args:
        model: model type of the `radgraph` package (radgraph, radgraph-xl ...), from its own cache.

    Raises:
        ValueError: the package or its model is not there.
    """
    try:
        from radgraph import F1RadGraph
    except ImportError as error:
        raise ValueError(f"--radgraph {model}: pip install radgraph ({error})") from error
    try:
        scorer = F1RadGraph(reward_level="partial", model_type=model)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise ValueError(f"--radgraph {model}: its weights are not in radgraph's cache: {error}") from error
    _, each, _, _ = scorer(refs=list(references), hyps=list(hypotheses))
    return np.asarray(each, np.float64)
