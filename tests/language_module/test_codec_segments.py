"""Segments: embedding k reads and names its own part of the report; and batches of one length."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from language_module.build import build_codec
from language_module.codec import ReportCodec
from language_module.config import BartSize, CodecConfig
from language_module.data import ReportSource
from language_module.pooling import StatePooler, segment_places
from language_module.tokenizer import train_tokenizer

REPORTS = [f"FINDINGS: {'The lungs are clear. ' * n}IMPRESSION: Normal." for n in range(1, 9)]


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    size = BartSize(400, d_model=32, encoder_layers=1, decoder_layers=1, num_heads=2, ffn_dim=64)
    config = CodecConfig("learned", 4, pooler_depth=1, segments=True, max_tokens=128)
    return build_codec(size, train_tokenizer(REPORTS, 400, 128), config).eval()


def test_places_are_those_of_each_reports_own_length():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert segment_places(mask, 2)[0].tolist() == [0.25, 0.75, 1.25, 1.75]
    assert segment_places(mask, 2)[1, :2].tolist() == [0.5, 1.5]


@pytest.mark.usefixtures("float64")
def test_a_query_looks_at_its_own_part():
    """What stands in the last quarter moves the last embedding far more than the first."""
    torch.manual_seed(0)
    pooler = StatePooler("learned", 4, dim=16, depth=1, segments=True).eval()
    states, mask = torch.randn(1, 40, 16), torch.ones(1, 40, dtype=torch.long)
    changed = states.clone()
    changed[:, 30:] = torch.randn(1, 10, 16)
    moved = (pooler(changed, mask) - pooler(states, mask)).norm(dim=-1)[0]
    assert moved[3] > 20 * moved[0]
    padded = functional.pad(states, (0, 0, 0, 9), value=7.0), functional.pad(mask, (0, 9))
    torch.testing.assert_close(pooler(*padded), pooler(states, mask))


@pytest.mark.usefixtures("float64")
def test_segment_words_loss_by_hand(codec):
    """Each token under the word distribution of the embedding of its quarter."""
    embeddings = codec.encode(REPORTS[2:3])
    ids, mask = codec.tokenize(REPORTS[2:3])
    words = (embeddings[0] @ codec.bart.lm_head.weight.T).log_softmax(-1)
    length = ids.shape[1]
    tokens = enumerate(ids[0].tolist())
    wanted = -np.mean([words[int((place + 0.5) * 4 / length), token].item() for place, token in tokens])
    assert codec.segment_words_loss(embeddings, ids).item() == pytest.approx(wanted, rel=1e-4)
    plain, both = codec(ids, mask).item(), codec(ids, mask, bag_of_words_weight=2.0).item()
    assert both == pytest.approx(plain + 2.0 * wanted, rel=1e-4)


def test_segments_are_saved(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    loaded = ReportCodec.from_pretrained(tmp_path)
    assert loaded.config.segments
    assert torch.equal(loaded.encode(REPORTS), codec.encode(REPORTS))


def test_batches_of_one_length(codec):
    source = ReportSource(codec, REPORTS * 20, bucket_lengths=True)
    plain = ReportSource(codec, REPORTS * 20)
    rng = np.random.default_rng(0)
    seen, spread = set(), {"bucketed": [], "plain": []}
    for step in range(60):
        indices = rng.choice(len(source), 8, replace=False)
        batch = source.get_batch(indices, torch.Generator().manual_seed(step))
        again = source.get_batch(indices, torch.Generator().manual_seed(step))
        assert torch.equal(batch["input_ids"], again["input_ids"])
        lengths = batch["attention_mask"].sum(dim=1)
        assert int(source.lengths[indices[0]]) in lengths.tolist()
        seen |= set(lengths.tolist())
        spread["bucketed"].append(int(lengths.max() - lengths.min()))
        lengths = plain.get_batch(indices, torch.Generator())["attention_mask"].sum(dim=1)
        spread["plain"].append(int(lengths.max() - lengths.min()))
    assert np.mean(spread["bucketed"]) < 0.5 * np.mean(spread["plain"])
    assert seen == set(source.lengths.tolist())  # no length is left out
    few = ReportSource(codec, REPORTS[:3], bucket_lengths=True)
    assert len(few.get_batch(np.array([2, 0, 1, 2]), torch.Generator())["input_ids"]) == 3
