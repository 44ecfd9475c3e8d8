"""BERTScore, by the package bert_score and a local text model; asked for by --bert-score."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs

BATCH_SIZE = 64


class BertScore:
    """BERTScore of pairs of reports: greedy matching of word pieces, F1; no idf, no rescaling."""

    def __init__(self, folder: str | Path, layer: int = -1, device: object = "cpu") -> None:
        """Open a transformers text model; `layer` is an index of its hidden states, -1 the last.

        Raises:
            ValueError: no package, no such model, or no such layer.
        """
        try:
            from bert_score import BERTScorer
        except ImportError as error:
            raise ValueError(f"--bert-score {folder}: pip install 'paircxr[bert-score]' ({error})") from error
        from transformers import AutoConfig, AutoTokenizer

        folder = Path(folder).expanduser().resolve()
        try:  # the package would ask the hub for what is not there
            if not any(folder.glob("*.safetensors")):
                raise OSError("no .safetensors weights there")
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"--bert-score {folder} cannot be loaded: {error}") from error
        num_layers = config.num_hidden_layers
        if not -num_layers - 1 <= layer <= num_layers:
            raise ValueError(f"--bert-score-layer {layer}: the model has {num_layers} layers")
        if "t5" in str(folder) and config.model_type != "t5":
            raise ValueError(
                f"--bert-score {folder}: the package takes a path with `t5` for a T5 model; rename it"
            )
        # RoBERTa's positions start after the padding index.
        shift = config.pad_token_id + 1 if "roberta" in config.model_type else 0
        longest = min(tokenizer.model_max_length, config.max_position_embeddings - shift)

        class LocalScorer(BERTScorer):
            """Many models' tokenizers do not say where to cut a text; their positions do."""

            def __init__(self) -> None:
                super().__init__(
                    model_type=str(folder),
                    num_layers=layer % (num_layers + 1),
                    batch_size=BATCH_SIZE,
                    device=str(device),
                    use_fast_tokenizer=True,
                )
                self._tokenizer.model_max_length = longest

        self.scorer = LocalScorer()

    def __call__(self, references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
        """(N,) F1 of each pair; an empty report scores 0."""
        known = [
            row
            for row, pair in enumerate(zip(references, hypotheses, strict=True))
            if all(map(str.strip, pair))
        ]
        scores = np.zeros(len(references))
        if known:
            found = self.scorer.score([hypotheses[row] for row in known], [references[row] for row in known])
            scores[known] = found[2].numpy()
        return scores


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
