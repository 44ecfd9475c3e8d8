"""ReportCodec: report -> BART encoder -> K embeddings -> BART decoder -> report."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    BartForConditionalGeneration,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.bart.modeling_bart import shift_tokens_right

from language_module.config import NO_DENOISING, CodecConfig, DecodingConfig, Denoising
from language_module.decoding import generate_options, list_processors
from language_module.denoising import add_noise, mask_tokens
from language_module.pooling import StatePooler, segment_places
from language_module.token_loop import write_tokens
from language_module.tokenizer import normalize_report, special_id
from runtime.config import from_dict
from runtime.files import read_json, reading
from runtime.tokenizers import check_tokenizer
from runtime.weights import load_part, load_pretrained


class ReportCodec(nn.Module):
    """An autoencoder of reports on a stock BART.

    The decoder cross-attends to the K embeddings alone, in the place of the encoder states, so whatever
    predicts them (a prior) can write a report. Its folder is a plain BART folder plus the pooler:
    `BartForConditionalGeneration.from_pretrained` and `AutoTokenizer.from_pretrained` read it.
    """

    def __init__(
        self, bart: BartForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, config: CodecConfig
    ) -> None:
        super().__init__()
        limit = bart.config.max_position_embeddings
        if not 3 <= config.max_tokens <= limit:
            raise ValueError(f"--max-tokens {config.max_tokens}: must be 3 to {limit}, this BART's positions")
        self.bart, self.tokenizer, self.config = bart, tokenizer, config
        self.pad_token_id = special_id(tokenizer, "pad_token_id")
        words = bart.get_input_embeddings()
        assert isinstance(words, nn.Embedding)
        self.embedding_dim = words.embedding_dim  # D, the width of BART
        self.pooler = StatePooler(
            config.pooling,
            config.num_embeddings,
            self.embedding_dim,
            config.pooler_depth,
            config.pooler_heads,
            float(bart.config.dropout or 0.0),
            config.normalize,
            config.segments,
        )
        # A published BART folder brings summarization settings (4 beams, no repeated trigram, forced
        # tokens) that would silently shape every report; a codec decodes plainly unless asked otherwise.
        self.bart.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=self.pad_token_id,
            decoder_start_token_id=bart.config.decoder_start_token_id,
            max_new_tokens=config.max_tokens,
        )

    @property
    def num_embeddings(self) -> int:
        """K."""
        return self.config.num_embeddings

    @property
    def device(self) -> torch.device:
        return self.bart.device

    def tokenize(self, reports: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """input_ids and attention_mask, both (B, T) int64 on the CPU, padded right, cut at max_tokens.

        Raises:
            ValueError: a report without text.
        """
        texts = [normalize_report(report) for report in reports]
        for number, text in enumerate(texts):
            if not text:
                raise ValueError(f"report {number} of {len(texts)} is empty: it has nothing to encode")
        tokens = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.config.max_tokens,
            padding_side="right",
            return_tensors="pt",
        )
        return tokens["input_ids"], tokens["attention_mask"]

    def embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T) -> report embeddings (B, K, D) float32, with gradients."""
        states = self.bart.model.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return self.pooler(states.last_hidden_state, attention_mask)

    @torch.no_grad()
    def encode(self, reports: Sequence[str]) -> torch.Tensor:
        """Reports -> report embeddings (B, K, D) float32 on the codec's device."""
        input_ids, attention_mask = self.tokenize(reports)
        return self.embed(input_ids.to(self.device), attention_mask.to(self.device))

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        denoising: Denoising = NO_DENOISING,
        generator: torch.Generator | None = None,
        bag_of_words_weight: float = 0.0,
    ) -> torch.Tensor:
        """Reconstruction loss of reports (B, T): mean cross-entropy of their real tokens.

        Args:
            denoising: noise of the training; needs `generator` on the tokens' device.
            bag_of_words_weight: of `bag_of_words_loss`, or of `segment_words_loss` where the codec has
                segments; in training.
        """
        noisy_ids = mask_tokens(input_ids, denoising.token_mask_rate, self.tokenizer, generator)
        embeddings = self.embed(noisy_ids, attention_mask)
        embeddings = add_noise(embeddings, denoising.embedding_noise, generator)
        loss = self.token_loss(embeddings, input_ids, denoising.decoder_mask_rate, generator)
        if bag_of_words_weight:
            words = self.segment_words_loss if self.config.segments else self.bag_of_words_loss
            loss = loss + bag_of_words_weight * words(embeddings, input_ids)
        return loss

    def loss(self, report_embeddings: torch.Tensor, reports: Sequence[str] | torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of reports given embeddings (B, K, D); gradients flow to the embeddings.

        Args:
            reports: texts, or token ids (B, T) padded with the pad token.
        """
        if not isinstance(reports, torch.Tensor):
            reports = self.tokenize(reports)[0]
        return self.token_loss(report_embeddings, reports.to(report_embeddings.device))

    def token_loss(
        self,
        report_embeddings: torch.Tensor,
        input_ids: torch.Tensor,
        decoder_mask_rate: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """As `loss`; `decoder_mask_rate` of the previous tokens are hidden from the decoder."""
        self.check_embeddings(report_embeddings)
        start = self.bart.config.decoder_start_token_id
        assert start is not None, "every BART has one"
        previous = shift_tokens_right(input_ids, self.pad_token_id, start)
        output = self.bart.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=report_embeddings),
            decoder_input_ids=mask_tokens(previous, decoder_mask_rate, self.tokenizer, generator),
            use_cache=False,
        )
        # Padding is left out before the vocabulary's projection, the costliest matrix of a small BART.
        real = input_ids != self.pad_token_id
        logits = self.bart.lm_head(output.last_hidden_state[real]) + self.bart.final_logits_bias
        return functional.cross_entropy(logits.float(), input_ids[real])

    def bag_of_words_loss(self, report_embeddings: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a report's tokens, in any order, under the embeddings' mixture of words.

        The decoder can lower its own loss by grammar alone and finds the embeddings late; this asks them
        for the words from the first step on (Zhao et al., ACL 2017, sec. 4.3), through the tied output
        matrix and so without weights of its own.
        """
        mixture = self.bart.lm_head(report_embeddings).float().log_softmax(-1).logsumexp(dim=1)
        mixture = mixture - math.log(self.num_embeddings)
        scores = mixture.gather(1, input_ids)
        return -scores[input_ids != self.pad_token_id].mean()

    def segment_words_loss(self, report_embeddings: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """As `bag_of_words_loss`, but each token is asked of the embedding of its own part of the report.

        Which embedding to read is then plain to the decoder within a few hundred steps; with the mixture
        alone it learns the language first and how to copy thousands of steps later.
        """
        real = input_ids != self.pad_token_id
        segments = segment_places(real, self.num_embeddings).long().clamp(max=self.num_embeddings - 1)
        scores = self.bart.lm_head(report_embeddings).float().log_softmax(-1)
        rows = torch.arange(len(input_ids), device=input_ids.device).unsqueeze(1)
        return -scores[rows, segments, input_ids][real].mean()

    @torch.no_grad()
    def decode(
        self,
        report_embeddings: torch.Tensor,
        decoding: DecodingConfig | None = None,
        generators: Sequence[torch.Generator | None] | None = None,
    ) -> list[str]:
        """Report embeddings (B, K, D) -> B reports, each a function of its own embedding (and generator).

        Args:
            decoding: greedy when not given.
            generators: one an item on the codec's device, for sampling; the same one for several items gives
                each its next numbers, and None the likeliest tokens.
        """
        self.check_embeddings(report_embeddings)
        decoding = decoding or DecodingConfig()
        size, limit = len(report_embeddings), self.config.max_tokens
        states = report_embeddings.to(self.device)
        if decoding.method == "beam" and decoding.num_beams > 1:
            output = self.bart.generate(  # pyright: ignore[reportAttributeAccessIssue]  # lost by decorators
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                **generate_options(decoding, generators, size, limit),
            )
        else:
            limit = min(decoding.max_new_tokens or limit, limit)
            end = special_id(self.tokenizer, "eos_token_id")
            processors = list_processors(decoding, generators, size, limit, end, self.device)
            output = write_tokens(self.bart, states, limit, processors)
        texts = self.tokenizer.batch_decode(
            output, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [normalize_report(text) for text in texts]

    def check_embeddings(self, report_embeddings: torch.Tensor) -> None:
        """Raise ValueError for embeddings that are not (B, K, D) of this codec."""
        wanted = (self.num_embeddings, self.embedding_dim)
        if report_embeddings.ndim != 3 or tuple(report_embeddings.shape[1:]) != wanted:
            raise ValueError(
                f"report embeddings of shape {tuple(report_embeddings.shape)} do not fit this codec, which "
                f"takes (B, {wanted[0]}, {wanted[1]}): the prior was trained for another codec (--language)"
            )

    def fingerprint(self) -> str:
        """Short hash of the weights. A prior keeps it, since it speaks to one codec only."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the BART folder, and beside it pooler.safetensors and codec.json."""
        folder = Path(folder)
        self.bart.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        weights = {
            name: value.detach().cpu().contiguous() for name, value in self.pooler.state_dict().items()
        }
        save_file(weights, folder / "pooler.safetensors", metadata={"format": "pt"})
        (folder / "codec.json").write_text(json.dumps(dataclasses.asdict(self.config), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ReportCodec":
        """A saved codec, in eval mode.

        Raises:
            ValueError: the folder is not a codec's.
        """
        folder = Path(folder)
        path = folder / "codec.json"
        if not path.is_file():
            raise ValueError(
                f"{folder} is not a report codec: it has no codec.json (train_bart.py writes it)"
            )
        bart = load_pretrained(BartForConditionalGeneration, folder)
        with reading(folder, "the report codec"):
            config = from_dict(CodecConfig(), read_json(path), str(path))
            tokenizer = AutoTokenizer.from_pretrained(folder)
            check_tokenizer(tokenizer, bart.config.vocab_size, ("pad_token", "bos_token", "eos_token"))
            codec = cls(bart, tokenizer, config)
        load_part(codec.pooler, folder / "pooler.safetensors", "the codec's pooler")
        return codec.eval()
