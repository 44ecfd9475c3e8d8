"""Report text and its tokens."""

import json
from collections.abc import Iterable

from tokenizers import ByteLevelBPETokenizer
from transformers import BartTokenizer, PreTrainedTokenizerBase

# Order and ids of BART's own vocabulary (Lewis et al., ACL 2020).
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
NUM_BYTES = 256


def normalize_report(text: str) -> str:
    """One line, single spaces: the form in which a report is encoded and comes back.

    Section headings ("FINDINGS: ... IMPRESSION: ...") are words of the text and stay.
    """
    return " ".join(text.split())


def special_id(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    """A token id by its attribute, such as pad_token_id. ValueError where the tokenizer has none."""
    value = getattr(tokenizer, name)
    if not isinstance(value, int):
        raise ValueError(f"the tokenizer has no {name}")
    return value


def train_tokenizer(reports: Iterable[str], vocab_size: int, max_tokens: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE on reports: any text has tokens and comes back unchanged.

    Its files are those that `AutoTokenizer` finds in a BART folder.

    Raises:
        ValueError: a vocabulary too small for the bytes and special tokens.
    """
    smallest = NUM_BYTES + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ValueError(f"--vocab-size {vocab_size}: must be at least {smallest} (bytes and special tokens)")
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        (normalize_report(report) for report in reports),
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    trained = json.loads(trainer.to_str())["model"]
    return BartTokenizer(
        vocab=trained["vocab"],
        merges=[tuple(pair) for pair in trained["merges"]],  # pyright: ignore[reportArgumentType]  # of pairs
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
    )
