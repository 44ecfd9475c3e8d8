"""How report embeddings are turned into text: greedy, beam or per-item sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class DecodingConfig:
    """Report decoding. Greedy and beam are deterministic; sampling draws from one generator an item."""

    method: Literal["greedy", "beam", "sample"] = "greedy"
    """greedy and beam always give the same report for the same embeddings."""
    num_beams: int = 4
    """Beams, for method beam."""
    length_penalty: float = 1.0
    """Above 1 favours longer reports, for method beam."""
    temperature: float = 1.0
    """Softmax temperature, for method sample."""
    top_p: float = 0.9
    """Smallest set of tokens with this probability is drawn from, for method sample."""
    num_candidates: int = 1
    """Reports drawn for a film, for method sample with a prior that predicts findings: the one that agrees
    best with them is kept, the greedy one being a candidate too."""
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
            ("temperature", self.temperature <= 0, "above 0"),
            ("top_p", not 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("no_repeat_ngram_size", self.no_repeat_ngram_size < 0, "0 or more"),
            ("min_new_tokens", self.min_new_tokens < 0, "0 or more"),
            ("max_new_tokens", self.max_new_tokens < 0, "0 or more"),
        ):
            if wrong:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} {getattr(self, name)}: must be {need}")


class GumbelSampler(LogitsProcessor):
    """Turns argmax into a draw: adds Gumbel noise (Maddison et al., 2014) from each item's own generator.

    So an item's draws depend on its generator alone, while `generate` stays in its deterministic mode.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
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
