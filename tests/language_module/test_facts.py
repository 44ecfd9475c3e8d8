"""Facts: what a report asserts as numbers, decided by the prior, and believed by the decoder."""

import numpy as np
import pytest
import torch

from data_module.findings import FINDINGS
from data_module.labeler.attributes import NUM_ATTRIBUTES
from data_module.labeler.facts import NUM_FACTS, read_facts
from language_module.build import build_codec
from language_module.codec import ReportCodec
from language_module.config import BartSize, CodecConfig, Denoising
from language_module.data import ReportSource
from language_module.denoising import mix_reports
from language_module.facts import FactTokens
from language_module.tokenizer import train_tokenizer
from prior_model.facts import decide_facts

SIZE = BartSize(vocab_size=400, d_model=32, encoder_layers=1, decoder_layers=1, num_heads=2, ffn_dim=64)
EFFUSION, HEART = FINDINGS.index("Pleural Effusion"), FINDINGS.index("Cardiomegaly")
REPORTS = [
    f"FINDINGS: {grade} {side} pleural effusion. IMPRESSION: {grade} {side} pleural effusion."
    for grade in ("Small", "Large")
    for side in ("left", "right")
]


def attribute(finding, name):
    """Column of a fact."""
    return len(FINDINGS) + 5 * finding + ("left", "right", "small", "moderate", "large").index(name)


def test_facts_of_reports():
    facts = read_facts([*REPORTS, "Severe cardiomegaly. No effusion.", "Possible effusion."])
    assert facts.shape == (6, NUM_FACTS)
    assert facts[:, EFFUSION].tolist() == [1, 1, 1, 1, 0, 0]
    assert facts[:, attribute(EFFUSION, "left")].tolist() == [1, 0, 1, 0, 0, 0]
    assert facts[:, attribute(EFFUSION, "large")].tolist() == [0, 0, 1, 1, 0, 0]
    assert np.flatnonzero(facts[4]).tolist() == [HEART, attribute(HEART, "large")]
    assert not facts[5].any()


def test_decisions():
    """Only what is present has a side and a grade, and then it has both."""
    logits = torch.full((3, NUM_FACTS), -9.0)
    logits[0, [EFFUSION, attribute(EFFUSION, "left"), attribute(EFFUSION, "moderate")]] = 1.0
    logits[1, attribute(HEART, "left")] = 5.0  # of a heart that is not called large
    logits[2, [EFFUSION, HEART, FINDINGS.index("No Finding")]] = 0.5
    logits[2, [attribute(EFFUSION, "left"), attribute(EFFUSION, "right")]] = torch.tensor([0.1, 0.2])
    facts = decide_facts(logits)
    assert facts[0].nonzero().flatten().tolist() == [
        EFFUSION,
        attribute(EFFUSION, "left"),
        attribute(EFFUSION, "moderate"),
    ]
    assert not facts[1].any()
    assert facts[2, [EFFUSION, HEART]].tolist() == [1, 1]
    assert facts[2, FINDINGS.index("No Finding")] == 0  # another finding is present
    assert facts[2, attribute(EFFUSION, "left") : attribute(EFFUSION, "right") + 1].tolist() == [1, 1]
    limits = [0.0] * 14
    limits[HEART] = 0.6
    assert decide_facts(logits, limits)[2, HEART] == 0
    told = facts[:, 14:].view(3, 14, 5)
    assert torch.equal(told[..., 2:].sum(-1), facts[:, :14])
    with pytest.raises(ValueError, match="84 log-odds, not 14"):
        decide_facts(logits[:, :14])


def test_an_attribute_never_told_says_nothing():
    tokens = FactTokens(8)
    facts = torch.zeros(2, NUM_FACTS)
    facts[:, HEART] = 1.0
    facts[1, attribute(HEART, "left")] = 1.0
    made = tokens(facts)
    assert made.shape == (2, 14, 8)
    assert torch.equal(made[0], made[1])
    torch.testing.assert_close(made.square().mean(-1), torch.ones(2, 14), rtol=0, atol=1e-3)
    facts[1, HEART] = 0.0
    assert not torch.equal(tokens(facts)[1, HEART], made[1, HEART])
    assert len(FINDINGS) + NUM_ATTRIBUTES == NUM_FACTS


def test_mixed_embeddings():
    embeddings = torch.randn(64, 2, 3)
    generator = torch.Generator().manual_seed(0)
    assert mix_reports(embeddings, 0.0, None) is embeddings
    mixed = mix_reports(embeddings, 0.5, generator)
    kept = (mixed - embeddings).flatten(1).abs().amax(dim=1) < 1e-6
    assert 16 < kept.sum() < 48
    # Mixed ones lie among the others: means with weights of at least 0 that sum to 1.
    ones = mix_reports(torch.ones(64, 1, 1), 1.0, generator)
    torch.testing.assert_close(ones, torch.ones(64, 1, 1))
    assert (mixed.abs() <= embeddings.abs().amax(dim=0) + 1e-5).all()
    spread = mix_reports(torch.eye(64)[:, None], 1.0, generator)[:, 0]
    own = spread.diagonal()
    assert own.min() < 0.1
    assert own.max() > 0.9


def make_codec(facts=True):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(REPORTS, SIZE.vocab_size, 64)
    return build_codec(SIZE, tokenizer, CodecConfig("learned", 2, pooler_depth=1, max_tokens=64, facts=facts))


@pytest.fixture(scope="module")
def learned_codec():
    codec = make_codec()
    source = ReportSource(codec, REPORTS)
    generator = torch.Generator().manual_seed(0)
    batch = source.get_batch(np.arange(4), generator)
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    noise = Denoising(0.0, 0.0, 0.0, mix_rate=0.7)
    for _ in range(400):
        loss = codec(**batch, denoising=noise, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return codec.eval()


def test_the_decoder_believes_the_facts(learned_codec):
    """With the embeddings of another report, and with means of several, it says what the facts say."""
    facts = torch.from_numpy(read_facts(REPORTS))
    embeddings = learned_codec.encode(REPORTS)
    assert learned_codec.decode(embeddings, facts=facts) == REPORTS
    assert learned_codec.decode(embeddings.roll(1, 0), facts=facts) == REPORTS
    assert learned_codec.decode(embeddings.mean(0, keepdim=True).expand(4, -1, -1), facts=facts) == REPORTS


def test_a_codec_with_facts_needs_them(learned_codec):
    embeddings = learned_codec.encode(REPORTS)
    with pytest.raises(ValueError, match="no facts were given"):
        learned_codec.decode(embeddings)
    with pytest.raises(ValueError, match="no facts were given"):
        learned_codec.loss(embeddings, REPORTS)
    plain = make_codec(facts=False)
    assert plain.decode(plain.encode(REPORTS)[:1]) == plain.decode(
        plain.encode(REPORTS)[:1], facts=torch.zeros(1, NUM_FACTS)
    )


def test_saved_and_loaded(learned_codec, tmp_path):
    learned_codec.save_pretrained(tmp_path)
    loaded = ReportCodec.from_pretrained(tmp_path)
    facts, embeddings = torch.from_numpy(read_facts(REPORTS)), learned_codec.encode(REPORTS)
    assert loaded.decode(embeddings, facts=facts) == REPORTS
    assert loaded.fingerprint() == learned_codec.fingerprint()
    loaded.fact_tokens.present.data += 1.0
    assert loaded.fingerprint() != learned_codec.fingerprint()
    (tmp_path / "facts.safetensors").unlink()
    with pytest.raises(ValueError, match="facts"):
        ReportCodec.from_pretrained(tmp_path)
