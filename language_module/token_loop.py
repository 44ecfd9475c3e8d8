"""Reports token by token: BART's decoder over many reports, greedily or by sampling, with little to move.

At every token `generate` copies the keys and values of all tokens before, looks anew at masks and settings,
and goes on with reports that have ended until the last one has. Here keys and values lie in place, and
reports that have ended leave the batch (docs/speed.md). A test holds it to `generate`'s words.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BartForConditionalGeneration, LogitsProcessor
from transformers.models.bart.modeling_bart import BartAttention, BartDecoderLayer

from language_module.decoding import NucleusSampler

LEFT = 0.75  # share of the rows that still write, below which the others are taken out


@torch.no_grad()
def write_tokens(
    bart: BartForConditionalGeneration,
    states: torch.Tensor,
    limit: int,
    processors: Sequence[LogitsProcessor] = (),
) -> torch.Tensor:
    """Encoder states (B, K, D) -> token ids (B, T), T at most `limit`, padded after each report's end.

    Args:
        processors: what changes the scores of the next token; the likeliest is then taken.
    """
    special, decoder, device = bart.generation_config, bart.model.decoder, states.device
    tokens = torch.full((len(states), limit + 1), special.pad_token_id, device=device)
    tokens[:, 0] = special.decoder_start_token_id
    positions = decoder.embed_positions.weight[decoder.embed_positions.offset :]
    layers = [_Layer(layer, states, limit) for layer in decoder.layers]
    rows = torch.arange(len(states), device=device)  # which of the B are worked on
    writes = torch.ones_like(rows, dtype=torch.bool)  # which of these have not ended
    step = 0
    for step in range(limit):
        words = decoder.embed_tokens(tokens[rows, step])
        hidden = decoder.layernorm_embedding(words + positions[step])
        for layer in layers:
            hidden = layer.step(hidden, step)
        scores = (bart.lm_head(hidden) + bart.final_logits_bias).float()
        for processor in processors:
            scores = processor(tokens[rows, : step + 1], scores)
        chosen = scores.argmax(-1)
        tokens[rows[writes], step + 1] = chosen[writes]
        writes &= chosen != special.eos_token_id
        left = int(writes.sum())
        if not left:
            break
        if left <= LEFT * len(rows):
            places = writes.nonzero()[:, 0]
            rows, writes = rows[places], writes[places]
            for part in (*layers, *processors):
                if isinstance(part, _Layer | NucleusSampler):
                    part.keep(places)
    return tokens[:, 1 : step + 2]


class _Layer:
    """A layer of the decoder, with the keys and values (B, heads, T, width) of what it has read."""

    def __init__(self, layer: nn.Module, states: torch.Tensor, limit: int) -> None:
        assert isinstance(layer, BartDecoderLayer)
        self.layer, self.length = layer, 0
        attention = layer.encoder_attn
        self.read = [_split(attention, project(states)) for project in (attention.k_proj, attention.v_proj)]
        rows, heads, _, width = self.read[0].shape
        self.written = [self.read[0].new_empty(rows, heads, limit, width) for _ in range(2)]

    def step(self, hidden: torch.Tensor, place: int) -> torch.Tensor:
        """The token at `place`, (B, D) -> (B, D)."""
        layer, attention, self.length = self.layer, self.layer.self_attn, place + 1
        for past, project in zip(self.written, (attention.k_proj, attention.v_proj), strict=True):
            past[:, :, place] = _split(attention, project(hidden)[:, None])[:, :, 0]
        seen = _attend(attention, hidden, *(past[:, :, : self.length] for past in self.written))
        hidden = layer.self_attn_layer_norm(hidden + seen)
        hidden = layer.encoder_attn_layer_norm(hidden + _attend(layer.encoder_attn, hidden, *self.read))
        return layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))

    def keep(self, places: torch.Tensor) -> None:
        """Go on with these rows alone."""
        self.read = [past[places] for past in self.read]
        kept = []
        for past in self.written:
            kept.append(past.new_empty(len(places), *past.shape[1:]))
            kept[-1][:, :, : self.length] = past[places, :, : self.length]
        self.written = kept


def _split(attention: BartAttention, states: torch.Tensor) -> torch.Tensor:
    """(B, T, D) -> (B, heads, T, width)."""
    return states.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2).contiguous()


def _attend(
    attention: BartAttention, hidden: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    query = _split(attention, attention.q_proj(hidden)[:, None])
    seen = scaled_dot_product_attention(query, keys, values, scale=attention.scaling)
    return attention.out_proj(seen.flatten(1))
