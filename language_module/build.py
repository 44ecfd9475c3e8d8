"""A new codec: from scratch on a corpus, or from a BART folder."""

from collections.abc import Sequence

from transformers import (
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    PreTrainedTokenizerBase,
)

from language_module.codec import ReportCodec
from language_module.config import BartSize, CodecConfig
from language_module.tokenizer import train_tokenizer
from runtime.tokenizers import check_tokenizer
from runtime.weights import load_pretrained


def build_bart(size: BartSize, vocab_size: int, max_tokens: int) -> BartForConditionalGeneration:
    """An untrained BART; `vocab_size` is the tokenizer's, which may fall short of the size asked for."""
    if size.d_model % size.num_heads:
        raise ValueError(f"--d-model {size.d_model}: must be a multiple of --num-heads {size.num_heads}")
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocab_size,
            d_model=size.d_model,
            encoder_layers=size.encoder_layers,
            decoder_layers=size.decoder_layers,
            encoder_attention_heads=size.num_heads,
            decoder_attention_heads=size.num_heads,
            encoder_ffn_dim=size.ffn_dim,
            decoder_ffn_dim=size.ffn_dim,
            dropout=size.dropout,
            max_position_embeddings=max_tokens,
            # BART's 0.02 suits a width of 768; in a narrow model it leaves attention uniform for long.
            init_std=size.d_model**-0.5,
            forced_eos_token_id=None,
        )
    )


def build_codec(size: BartSize, tokenizer: PreTrainedTokenizerBase, config: CodecConfig) -> ReportCodec:
    """An untrained codec on this tokenizer."""
    return ReportCodec(build_bart(size, len(tokenizer), config.max_tokens), tokenizer, config)


def load_bart(source: str) -> tuple[BartForConditionalGeneration, PreTrainedTokenizerBase]:
    """Weights and tokenizer of a BART folder or of a model name on the Hugging Face Hub.

    Raises:
        ValueError: neither can be read, as when the name is given without a network.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        bart = load_pretrained(BartForConditionalGeneration, source).train()
        check_tokenizer(tokenizer, bart.config.vocab_size)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--init-from {source}: neither a BART folder nor a model that can be downloaded now "
            f"({reason}). Give a local BART folder, or --init-from '' to start from scratch."
        ) from error
    return bart, tokenizer


def truncated_share(codec: ReportCodec, reports: Sequence[str]) -> float:
    """Share of the reports that are longer than the codec's max_tokens, so that their end is lost."""
    lengths = codec.tokenizer(list(reports), truncation=False, return_length=True, verbose=False)["length"]
    return sum(length > codec.config.max_tokens for length in lengths) / len(lengths)


def start_codec(init_from: str, size: BartSize, config: CodecConfig, reports: list[str]) -> ReportCodec:
    """What training starts from: a published BART, or a new one with a tokenizer of the reports."""
    if init_from:
        return ReportCodec(*load_bart(init_from), config)
    return build_codec(size, train_tokenizer(reports, size.vocab_size, config.max_tokens), config)
