"""Settings of the language models: what the scripts' flags are made of. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

POOLINGS = ("mean", "bos", "eos", "learned")


def check_pooling(pooling: str, num_embeddings: int) -> None:
    """Raise ValueError for a pooling that does not exist or cannot give this many embeddings."""
    if pooling not in POOLINGS:
        raise ValueError(f"--pooling {pooling!r}: choose one of {', '.join(POOLINGS)}")
    if pooling != "learned" and num_embeddings != 1:
        raise ValueError(
            f"--num-embeddings {num_embeddings} with --pooling {pooling}: that gives 1 embedding; "
            "use --pooling learned for more"
        )
    if not 1 <= num_embeddings <= 32:
        raise ValueError(f"--num-embeddings {num_embeddings}: must be 1 to 32")


@dataclass(frozen=True)
class BartSize:
    """Sizes of a BART that starts from scratch."""

    vocab_size: int = 2048
    """Byte-level BPE tokens, trained on the reports."""
    d_model: int = 192
    """Width, and D of the report embeddings."""
    encoder_layers: int = 2
    """Encoder layers."""
    decoder_layers: int = 2
    """Decoder layers."""
    num_heads: int = 4
    """Attention heads."""
    ffn_dim: int = 512
    """Width inside the feed-forward layers."""
    dropout: float = 0.0
    """Dropout."""


@dataclass(frozen=True)
class CodecConfig:
    """What codec.json holds: how states become embeddings, and how long a report may be."""

    pooling: str = "learned"
    num_embeddings: int = 8
    pooler_depth: int = 2
    pooler_heads: int = 4
    normalize: bool = True
    segments: bool = False
    max_tokens: int = 160


@dataclass(frozen=True)
class Denoising:
    """Training noise of the codec; none of it is used after training."""

    token_mask_rate: float = 0.1
    """Share of input tokens replaced by <mask> before the encoder (BART's token masking)."""
    embedding_noise: float = 0.2
    """Standard deviation of the Gaussian noise on the embeddings, whose own scale is 1."""
    decoder_mask_rate: float = 0.1
    """Share of previous tokens hidden from the decoder (word dropout, Bowman et al., 2016)."""

    def __post_init__(self) -> None:
        for name in ("token_mask_rate", "decoder_mask_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be in 0..1")
        if self.embedding_noise < 0.0:
            raise ValueError(f"--embedding-noise {self.embedding_noise}: must be 0 or more")


NO_DENOISING = Denoising(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class DecodingConfig:
    """Report decoding. Greedy and beam are deterministic; sampling draws from one generator an item."""

    method: Literal["greedy", "beam", "sample"] = "greedy"
    """greedy and beam always give the same report for the same embeddings."""
    num_beams: int = 4
    """Beams, for method beam."""
    length_penalty: float = 1.0
    """Above 1 favors longer reports, for method beam."""
    temperature: float = 1.0
    """Softmax temperature, for method sample."""
    top_p: float = 0.9
    """Smallest set of tokens with this probability is drawn from, for method sample."""
    num_candidates: int = 1
    """Reports drawn for a film, for method sample: one is kept, the greedy one being a candidate too."""
    choose_by: Literal["findings", "consensus"] = "findings"
    """findings: the candidate that agrees best with the findings that the prior sees. consensus: the one with
    which the others, 3 or more, agree most in findings and words (minimum Bayes risk), whatever model writes;
    what a prior sees counts a little."""
    assemble: bool = False
    """Put each report together from the sentences of its candidates (one may do), with a prior that predicts
    findings: it asserts what the prior sees, and its sections tell the same sides and grades."""
    no_repeat_ngram_size: int = 0
    """No token sequence of this length occurs twice in a report; 0 allows all (reports do repeat words)."""
    min_new_tokens: int = 0
    """Tokens before a report may end."""
    max_new_tokens: int = 0
    """Tokens at most; 0 takes the codec's own limit."""

    def __post_init__(self) -> None:
        for name, wrong, need in (
            ("num_beams", self.num_beams < 1, "at least 1"),
            ("num_candidates", self.num_candidates < 1, "at least 1"),
            (
                "num_candidates",
                self.num_candidates > 1 and self.method != "sample",
                "1 without --method sample",
            ),
            ("choose_by", self.choose_by == "consensus" and self.assemble, "findings with --assemble"),
            (
                "choose_by",
                self.choose_by == "consensus" and self.num_candidates < 3,
                "findings with fewer than 3 --num-candidates, which cannot agree",
            ),
            ("temperature", self.temperature <= 0, "above 0"),
            ("top_p", not 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("no_repeat_ngram_size", self.no_repeat_ngram_size < 0, "0 or more"),
            ("min_new_tokens", self.min_new_tokens < 0, "0 or more"),
            ("max_new_tokens", self.max_new_tokens < 0, "0 or more"),
        ):
            if wrong:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} {getattr(self, name)}: must be {need}")


@dataclass(frozen=True)
class GPTSize:
    """Sizes of a GPT-2 that starts from scratch."""

    vocab_size: int = 1024
    """Byte-level BPE tokens, trained on the reports."""
    dim: int = 192
    """Width."""
    depth: int = 4
    """Blocks."""
    num_heads: int = 4
    """Attention heads."""
    dropout: float = 0.0
    """Dropout."""


@dataclass(frozen=True)
class MappingConfig:
    """The mapping network between image features and the decoder's embeddings."""

    mapping: Literal["linear", "perceiver"] = "perceiver"
    """linear: each place of the feature map becomes a prefix token; perceiver: query tokens read the map."""
    num_prefix: int = 16
    """Prefix tokens of the perceiver."""
    mapping_depth: int = 2
    """Layers of the perceiver."""
    mapping_heads: int = 4
    """Attention heads of the perceiver."""
