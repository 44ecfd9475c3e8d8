"""BERTScore, by the package bert_score and a local text model; asked for by --bert-score."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 64


class BertScore:
    """BERTScore of pairs of reports: greedy matching of word pieces, F1; no idf, no rescaling.

    The package matches and averages. The model is opened here: the package would ask the hub for a folder
    that is not there, and fill weights that a file lacks with random numbers.
    """

    def __init__(self, folder: str | Path, layer: int = -1, device: "torch.device | str" = "cpu") -> None:
        """Open a transformers text model; `layer` is an index of its hidden states, -1 the last.

        Raises:
            ValueError: no package, no such model, or no such layer.
        """
        from transformers import AutoModel, AutoTokenizer

        from runtime.devices import move
        from runtime.weights import load_pretrained

        try:
            from bert_score.utils import bert_cos_score_idf
        except ImportError as error:
            raise ValueError(f"--bert-score {folder}: pip install bert-score ({error})") from error
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = load_pretrained(AutoModel, folder, "pooler", local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"--bert-score {folder} cannot be loaded: {error}") from error
        config = model.config
        if not -config.num_hidden_layers - 1 <= layer <= config.num_hidden_layers:
            raise ValueError(f"--bert-score-layer {layer}: the model has {config.num_hidden_layers} layers")
        # RoBERTa's positions start after the padding index. Many tokenizers do not say where to cut a text.
        shift = config.pad_token_id + 1 if "roberta" in config.model_type else 0
        longest = min(self.tokenizer.model_max_length, config.max_position_embeddings - shift)
        self.tokenizer.model_max_length = longest
        self.device, self.score = str(device), bert_cos_score_idf
        self.model = _hidden_state(move(model.requires_grad_(False), device), layer)

    def __call__(self, references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
        """(N,) F1 of each pair; an empty report scores 0."""
        pairs = enumerate(zip(references, hypotheses, strict=True))
        known = [row for row, pair in pairs if all(map(str.strip, pair))]
        scores = np.zeros(len(references))
        if known:
            real, generated = ([side[row] for row in known] for side in (references, hypotheses))
            # Words weigh the same; the tokens at either end are matched, but none is averaged over.
            ends = (self.tokenizer.sep_token_id, self.tokenizer.cls_token_id)
            weights = defaultdict(lambda: 1.0, dict.fromkeys(ends, 0.0))
            settings = (self.tokenizer, weights, False, BATCH_SIZE, self.device)
            found = self.score(self.model, real, generated, *settings)
            scores[known] = found[:, 2].numpy()
        return scores


def _hidden_state(model: Any, layer: int) -> Any:
    """A module whose first output is one hidden state of `model`, as the package reads it."""
    from torch import nn

    class HiddenState(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, tokens: Any, attention_mask: Any, **_: Any) -> tuple[Any]:
            output = self.inner(tokens, attention_mask=attention_mask, output_hidden_states=True)
            return (output.hidden_states[layer],)

    return HiddenState()


def _compute(reports: ReportInputs) -> Figure:
    from runtime.devices import resolve_device

    settings = reports.settings
    score = BertScore(settings.bert_score, settings.bert_score_layer, resolve_device(settings.device))
    each = score(reports.references, reports.hypotheses)
    return Figure(float(each.mean()), each=each)


METRICS = (
    Metric(
        key="bert_score_f1",
        title="BERTScore F1",
        section="reports",
        direction="higher",
        range=(-1.0, 1.0),
        convention="mean over reports, greedy matching, no idf, no rescaling; model and layer: "
        "inputs.reports",
        source="Zhang et al., ICLR 2020, by the package bert_score",
        needs=("texts",),
        compute=_compute,
        flag="bert_score",
        headline=16,
    ),
)
