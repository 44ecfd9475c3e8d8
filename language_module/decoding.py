"""How report embeddings are turned into text: greedy, beam or per-item sampling."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
)

from language_module.config import DecodingConfig

LIKELIEST = 64  # tokens that are looked at first


class NucleusSampler(LogitsProcessor):
    """Turns argmax into a draw from the nucleus, the smallest set of tokens with probability `top_p`
    (Holtzman et al., ICLR 2020).

    A token takes one number, and a report all that it may need before its first: what it is depends on its
    own generator alone, and so does what the generator gives next, however long the neighbors are.

    Args:
        generators: one an item, or the same one for several: each takes the next numbers. None: the likeliest
            token, as greedy decoding has it.
        limit: tokens of a report at most.
    """

    def __init__(
        self, decoding: DecodingConfig, generators: Sequence[torch.Generator | None], limit: int
    ) -> None:
        self.temperature, self.top_p, self.step = decoding.temperature, decoding.top_p, 0
        device = next((generator.device for generator in generators if generator), None)
        self.draws = torch.stack(
            [
                torch.rand(limit, generator=generator, device=device)
                if generator
                else torch.zeros(limit, device=device)
                for generator in generators
            ],
            dim=1,
        )

    def keep(self, places: torch.Tensor) -> None:
        """Go on with these items alone."""
        self.draws = self.draws[:, places]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.Tensor:
        probabilities = (scores / self.temperature).softmax(-1)
        draws = self.draws[self.step].unsqueeze(1)
        # The likeliest tokens nearly always hold the set; the whole vocabulary is sorted where they do not.
        sorted_, tokens = probabilities.topk(min(LIKELIEST, scores.shape[-1]))
        drawn = self._draw(sorted_, tokens, draws)
        if len(rest := (sorted_.sum(-1) < self.top_p).nonzero()[:, 0]):
            drawn[rest] = self._draw(*probabilities[rest].sort(descending=True), draws[rest])
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)

    def _draw(self, sorted_: torch.Tensor, tokens: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """A token (B, 1) of the nucleus of tokens (B, n), likeliest first, by one number each."""
        before = sorted_.cumsum(-1) - sorted_
        kept = sorted_ * (before < self.top_p)
        place = (kept.cumsum(-1) <= draws * kept.sum(-1, keepdim=True)).sum(-1, keepdim=True)
        place = place.minimum((kept > 0).sum(-1, keepdim=True) - 1)  # rounding may lead past the last
        return tokens.gather(-1, place)


def sampling_processors(
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator | None] | None,
    num_items: int,
    limit: int = 1,
) -> LogitsProcessorList:
    """Temperature, top-p and the draw, for reports of at most `limit` tokens; empty for greedy and beam.

    Raises:
        ValueError: sampling without one generator an item.
    """
    if decoding.method != "sample":
        return LogitsProcessorList()
    if generators is None or len(generators) != num_items:
        given = 0 if generators is None else len(generators)
        raise ValueError(
            f"decoding by sampling needs one generator an item: {num_items} items, {given} given"
        )
    return LogitsProcessorList([NucleusSampler(decoding, generators, limit)])


def list_processors(
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator | None] | None,
    num_items: int,
    limit: int,
    eos_token_id: int,
    device: torch.device,
) -> LogitsProcessorList:
    """All that changes the scores of a next token after a first one that starts every report."""
    processors = LogitsProcessorList()
    if decoding.no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram_size))
    if decoding.min_new_tokens:
        least = MinNewTokensLengthLogitsProcessor(1, decoding.min_new_tokens, eos_token_id, str(device))
        processors.append(least)
    processors.extend(sampling_processors(decoding, generators, num_items, limit))
    return processors


def generate_options(
    decoding: DecodingConfig,
    generators: Sequence[torch.Generator | None] | None,
    num_items: int,
    limit: int,
) -> dict[str, Any]:
    """Arguments of a transformers model's `generate`, for reports of at most `limit` tokens."""
    num_beams = decoding.num_beams if decoding.method == "beam" else 1
    limit = min(decoding.max_new_tokens or limit, limit)
    return {
        "logits_processor": sampling_processors(decoding, generators, num_items, limit),
        "do_sample": False,
        "num_beams": num_beams,
        "length_penalty": decoding.length_penalty if num_beams > 1 else None,
        # True, as in bart-base's settings, stops at the first few complete reports, which are short.
        "early_stopping": False if num_beams > 1 else None,
        "no_repeat_ngram_size": decoding.no_repeat_ngram_size,
        "min_new_tokens": decoding.min_new_tokens or None,
        "max_new_tokens": limit,
    }
