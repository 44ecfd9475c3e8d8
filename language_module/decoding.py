"""How report embeddings are turned into text: greedy, beam or per-item sampling."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from language_module.config import DecodingConfig


class GumbelSampler(LogitsProcessor):
    """Turns argmax into a draw: adds Gumbel noise (Maddison et al., 2014) from each item's own generator.

    So an item's draws depend on its generator alone, while `generate` stays in its deterministic mode.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.Tensor:
        noise = [
            torch.empty(scores.shape[-1], device=generator.device).exponential_(generator=generator)
            for generator in self.generators
        ]
        return scores - torch.stack(noise).to(scores).log()


def sampling_processors(
    decoding: DecodingConfig, generators: Sequence[torch.Generator] | None, num_items: int
) -> LogitsProcessorList:
    """Temperature, top-p and the draw; empty for greedy and beam.

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
    return LogitsProcessorList(
        [
            TemperatureLogitsWarper(decoding.temperature),
            TopPLogitsWarper(decoding.top_p),
            GumbelSampler(generators),
        ]
    )


def generate_options(
    decoding: DecodingConfig, generators: Sequence[torch.Generator] | None, num_items: int, limit: int
) -> dict[str, Any]:
    """Arguments of a transformers model's `generate`, for reports of at most `limit` tokens."""
    num_beams = decoding.num_beams if decoding.method == "beam" else 1
    return {
        "logits_processor": sampling_processors(decoding, generators, num_items),
        "do_sample": False,
        "num_beams": num_beams,
        "length_penalty": decoding.length_penalty if num_beams > 1 else None,
        # True, as in bart-base's settings, stops at the first few complete reports, which are short.
        "early_stopping": False if num_beams > 1 else None,
        "no_repeat_ngram_size": decoding.no_repeat_ngram_size,
        "min_new_tokens": decoding.min_new_tokens or None,
        "max_new_tokens": min(decoding.max_new_tokens or limit, limit),
    }
