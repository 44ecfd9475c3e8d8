"""ReportGPT, the baseline: image encoder -> mapping network -> prefix of a GPT-2 or BioGPT -> report.

The design is that of the published "Automated Radiology Report Generation" systems: features of a film are
projected into the decoder's own embedding space and stand before the report's tokens (as in ClipCap, Mokady
et al., 2021). Stage 1 trains with the encoder frozen, stage 2 goes on with all weights.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from language_module.config import DecodingConfig, GPTSize, MappingConfig
from language_module.decoding import generate_options
from language_module.image_encoder import ImageEncoder
from language_module.pooling import StatePooler
from language_module.tokenizer import normalize_report, special_id
from runtime.files import read_json, reading
from runtime.tokenizers import check_tokenizer
from runtime.weights import load_part, load_pretrained

CONFIG = "report_gpt.json"
MAPPING = "mapping.safetensors"


class MappingNetwork(nn.Module):
    """Feature maps (B, C, h, w) -> prefix embeddings (B, P, D)."""

    def __init__(self, feature_shape: tuple[int, int, int], dim: int, config: MappingConfig) -> None:
        super().__init__()
        channels, height, width = feature_shape
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, dim)
        # Feature maps of a ResNet do not say where in the film they are.
        self.positions = nn.Parameter(torch.randn(height * width, dim) * 0.02)
        self.num_prefix, self.reader = height * width, None
        if config.mapping == "perceiver":
            self.num_prefix = config.num_prefix
            self.reader = StatePooler(
                "learned", config.num_prefix, dim, config.mapping_depth, config.mapping_heads, normalize=False
            )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        tokens = self.project(self.norm(features.flatten(2).transpose(1, 2))) + self.positions
        if self.reader is None:
            return tokens
        return self.reader(tokens, tokens.new_ones(tokens.shape[:2]))


class ReportGPT(nn.Module):
    """Films -> reports.

    Its folder holds three plain parts: `encoder/` and `decoder/` (transformers folders) and the mapping.

    Args:
        max_tokens: of a report, its end included.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        config: MappingConfig,
        max_tokens: int = 128,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.tokenizer = encoder, decoder, tokenizer
        self.config, self.max_tokens = config, max_tokens
        words = decoder.get_input_embeddings()
        assert isinstance(words, nn.Embedding)
        self.mapping = MappingNetwork(encoder.feature_shape, words.embedding_dim, config)
        limit = decoder.config.max_position_embeddings - self.mapping.num_prefix
        if not 2 <= max_tokens <= limit:
            raise ValueError(f"--max-tokens {max_tokens}: must be 2 to {limit}, what the prefix leaves over")
        # GPT-2 has no padding token of its own; where it stands, the attention mask hides it.
        pad = tokenizer.pad_token_id
        self.pad_token_id = special_id(tokenizer, "eos_token_id" if pad is None else "pad_token_id")
        decoder.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id, pad_token_id=self.pad_token_id
        )

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @property
    def film_size(self) -> int:
        """Side of the films, in pixels."""
        return self.encoder.image_size

    def freeze_encoder(self) -> None:
        """Stage 1: the encoder keeps its weights; `train` keeps it in evaluation mode too."""
        self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> "ReportGPT":
        super().train(mode)
        if not any(weight.requires_grad for weight in self.encoder.parameters()):
            self.encoder.eval()  # else a frozen ResNet's batch statistics would still drift
        return self

    def tokenize(self, reports: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """input_ids and attention_mask (B, T) int64: tokens and the end; cut at max_tokens, padded right."""
        limit = self.max_tokens - 1
        texts = [normalize_report(report) for report in reports]
        rows = self.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=limit)["input_ids"]
        rows = [torch.tensor([*row, self.tokenizer.eos_token_id]) for row in rows]
        pad = nn.utils.rnn.pad_sequence
        ids = pad(rows, batch_first=True, padding_value=self.pad_token_id)
        return ids, pad([torch.ones_like(row) for row in rows], batch_first=True)

    def forward(
        self, images: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """Mean cross-entropy of the reports' tokens (B, T) given films (B, 1, H, W) in [-1, 1]."""
        prefix = self.mapping(self.encoder(images))
        words = self.decoder.get_input_embeddings()(input_ids[:, :-1])
        seen = torch.cat([attention_mask.new_ones(prefix.shape[:2]), attention_mask[:, :-1]], dim=1)
        embeddings = torch.cat([prefix.to(words.dtype), words], dim=1)
        states = self.decoder.base_model(inputs_embeds=embeddings, attention_mask=seen, use_cache=False)
        # The last token of the prefix predicts the first word, and so on.
        states = states.last_hidden_state[:, prefix.shape[1] - 1 :]
        real = attention_mask.bool()
        head = self.decoder.get_output_embeddings()
        assert head is not None, "a language model has one"
        logits = head(states[real])
        return functional.cross_entropy(logits.float(), input_ids[real])

    @torch.no_grad()
    def write(
        self,
        features: torch.Tensor,
        decoding: DecodingConfig | None = None,
        generators: Sequence[torch.Generator | None] | None = None,
    ) -> list[str]:
        """Feature maps of `encoder` (B, C, h, w) -> B reports; sampling takes one generator an item, None for
        the likeliest words."""
        decoding = decoding or DecodingConfig()
        prefix = self.mapping(features)
        output = self.decoder.generate(  # pyright: ignore[reportCallIssue]  # of any causal language model
            inputs_embeds=prefix,
            attention_mask=prefix.new_ones(prefix.shape[:2], dtype=torch.long),
            **generate_options(decoding, generators, len(features), self.max_tokens),
        )
        texts = self.tokenizer.batch_decode(
            output, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [normalize_report(text) for text in texts]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write encoder/, decoder/, the mapping and report_gpt.json."""
        folder = Path(folder)
        self.encoder.save_pretrained(folder / "encoder")
        self.decoder.save_pretrained(folder / "decoder")
        self.tokenizer.save_pretrained(folder / "decoder")
        weights = {
            name: value.detach().cpu().contiguous() for name, value in self.mapping.state_dict().items()
        }
        save_file(weights, folder / MAPPING, metadata={"format": "pt"})
        saved = {"mapping": dataclasses.asdict(self.config), "max_tokens": self.max_tokens}
        (folder / CONFIG).write_text(json.dumps(saved, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ReportGPT":
        """Read what `save_pretrained` wrote. Raises ValueError for a folder without report_gpt.json."""
        folder = Path(folder)
        if not (folder / CONFIG).is_file():
            raise ValueError(f"{folder} is no report GPT: it has no {CONFIG} (train_report_gpt.py writes it)")
        decoder, tokenizer = load_decoder(str(folder / "decoder"))
        encoder = ImageEncoder.from_pretrained(folder / "encoder")
        with reading(folder / CONFIG):
            saved = read_json(folder / CONFIG)
            model = cls(encoder, decoder, tokenizer, MappingConfig(**saved["mapping"]), saved["max_tokens"])
        load_part(model.mapping, folder / MAPPING, "the GPT's mapping")
        return model.eval()


def build_gpt(size: GPTSize, vocab_size: int, num_positions: int, eos_token_id: int = 2) -> GPT2LMHeadModel:
    """An untrained GPT-2."""
    if size.dim % size.num_heads:
        raise ValueError(f"--dim {size.dim}: must be a multiple of --num-heads {size.num_heads}")
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocab_size,
            n_positions=num_positions,
            n_embd=size.dim,
            n_layer=size.depth,
            n_head=size.num_heads,
            resid_pdrop=size.dropout,
            embd_pdrop=size.dropout,
            attn_pdrop=size.dropout,
            bos_token_id=eos_token_id,
            eos_token_id=eos_token_id,
        )
    )


def load_decoder(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Weights and tokenizer of a GPT-2 or BioGPT folder or hub name.

    Raises:
        ValueError: neither can be read, or it is no causal language model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        decoder = load_pretrained(AutoModelForCausalLM, source).train()
        check_tokenizer(tokenizer, decoder.config.vocab_size)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--decoder {source}: neither a GPT-2 or BioGPT folder nor a model that can be downloaded now "
            f"({reason}). Give a local folder, or --decoder '' to start from scratch."
        ) from error
    return decoder, tokenizer
