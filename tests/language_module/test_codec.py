"""The report codec: pooling, losses, saving, decoding."""

import json

import pytest
import torch
from torch.nn import functional
from transformers import AutoTokenizer, BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from language_module.build import build_codec, load_bart, truncated_share
from language_module.codec import ReportCodec
from language_module.config import BartSize, CodecConfig, DecodingConfig, Denoising
from language_module.data import ReportSource
from language_module.decoding import LIKELIEST, NucleusSampler, generate_options, sampling_processors
from language_module.denoising import mask_tokens
from language_module.pooling import StatePooler
from language_module.tokenizer import normalize_report, train_tokenizer

REPORTS = [
    "FINDINGS: The heart is enlarged. No pleural effusion. IMPRESSION: Cardiomegaly.",
    "FINDINGS: Small left pleural effusion. IMPRESSION: Effusion, possibly with atelectasis.",
    "IMPRESSION: No acute disease.",
    "FINDINGS: There is a 4.5 mm nodule in the right upper lobe, and the lungs are otherwise clear. "
    "The heart is of normal size. IMPRESSION: Nodule; follow-up CT is advised (3 months).",
]
SIZE = BartSize(
    vocab_size=400, d_model=32, encoder_layers=1, decoder_layers=1, num_heads=2, ffn_dim=64, dropout=0.0
)


def make_codec(pooling="learned", num_embeddings=3, max_tokens=128, seed=0, **config):
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(REPORTS, SIZE.vocab_size, max_tokens)
    config = CodecConfig(pooling, num_embeddings, pooler_depth=1, max_tokens=max_tokens, **config)
    return build_codec(SIZE, tokenizer, config).eval()


@pytest.fixture(scope="module")
def codec():
    return make_codec()


@pytest.fixture(scope="module")
def learned_codec():
    """A codec that has learned its few reports by heart."""
    codec = make_codec(num_embeddings=4)
    input_ids, mask = codec.tokenize(REPORTS)
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    for _ in range(250):
        loss = codec(input_ids, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    return codec


def test_pooling_known_answers():
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [100.0, 100.0]], [[1.0, 0.0], [2.0, 0.0], [6.0, 3.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])

    def pool(name):
        return StatePooler(name, 1, dim=2, normalize=False)(states, mask)

    assert torch.equal(pool("mean"), torch.tensor([[[2.0, 4.0]], [[3.0, 1.0]]]))
    assert torch.equal(pool("bos"), torch.tensor([[[1.0, 2.0]], [[1.0, 0.0]]]))
    assert torch.equal(pool("eos"), torch.tensor([[[3.0, 6.0]], [[6.0, 3.0]]]))
    normalized = StatePooler("mean", 1, dim=2)(states, mask)
    torch.testing.assert_close(normalized, torch.tensor([[[-1.0, 1.0]], [[1.0, -1.0]]]), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("pooling", ["mean", "bos", "eos", "learned"])
def test_long_neighbor_changes_nothing(pooling):
    codec = make_codec(pooling, 3 if pooling == "learned" else 1)
    alone, together = codec.encode(REPORTS[2:3]), codec.encode([REPORTS[2], REPORTS[3]])
    assert alone.shape == (1, codec.num_embeddings, codec.embedding_dim)
    torch.testing.assert_close(alone[0], together[0])


@pytest.mark.parametrize("num_embeddings", [1, 4, 32])
def test_k_embeddings_of_unit_scale(num_embeddings):
    embeddings = make_codec(num_embeddings=num_embeddings).encode(REPORTS)
    assert embeddings.shape == (len(REPORTS), num_embeddings, SIZE.d_model)
    assert embeddings.dtype == torch.float32
    scale = embeddings.square().mean(-1)
    torch.testing.assert_close(scale, torch.ones_like(scale), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("pooling", "num_embeddings"), [("mean", 4), ("learned", 0), ("learned", 33), ("max", 1)]
)
def test_wrong_pooling_is_named(pooling, num_embeddings):
    with pytest.raises(ValueError, match=r"--(pooling|num-embeddings)"):
        make_codec(pooling, num_embeddings)


@pytest.mark.usefixtures("float64")
def test_loss_is_the_cross_entropy_of_real_tokens(codec):
    """By hand: each report's tokens, one report at a time and without padding."""
    embeddings = codec.encode(REPORTS)
    total, count = 0.0, 0
    for number, report in enumerate(REPORTS):
        ids = codec.tokenizer(report, return_tensors="pt")["input_ids"]
        previous = torch.cat([torch.tensor([[codec.tokenizer.eos_token_id]]), ids[:, :-1]], dim=1)
        states = BaseModelOutput(last_hidden_state=embeddings[number : number + 1])
        logits = codec.bart(encoder_outputs=states, decoder_input_ids=previous).logits[0]
        total += functional.cross_entropy(logits, ids[0], reduction="sum").item()
        count += ids.shape[1]
    assert codec.loss(embeddings, REPORTS).item() == pytest.approx(total / count, rel=1e-5)
    input_ids, mask = codec.tokenize(REPORTS)
    assert codec.loss(embeddings, input_ids).item() == pytest.approx(total / count, rel=1e-5)
    assert codec(input_ids, mask).item() == pytest.approx(total / count, rel=1e-5)
    wide = functional.pad(input_ids, (0, 7), value=codec.tokenizer.pad_token_id)
    assert codec.loss(embeddings, wide).item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.usefixtures("float64")
def test_bag_of_words_loss_by_hand(codec):
    """One report: the mean over its tokens of -log of the embeddings' average word distribution."""
    embeddings = codec.encode(REPORTS[:1])
    ids, mask = codec.tokenize(REPORTS[:1])
    words = (embeddings[0] @ codec.bart.lm_head.weight.T).softmax(-1).mean(0)
    wanted = -words[ids[0]].log().mean().item()
    assert codec.bag_of_words_loss(embeddings, ids).item() == pytest.approx(wanted, rel=1e-5)
    padded = functional.pad(ids, (0, 5), value=codec.tokenizer.pad_token_id)
    assert codec.bag_of_words_loss(embeddings, padded).item() == pytest.approx(wanted, rel=1e-5)
    plain, both = codec(ids, mask).item(), codec(ids, mask, bag_of_words_weight=2.0).item()
    assert both == pytest.approx(plain + 2.0 * wanted, rel=1e-5)


def test_frozen_codec_gives_gradients_to_embeddings(codec):
    embeddings = codec.encode(REPORTS).requires_grad_()
    codec.loss(embeddings, REPORTS).backward()
    assert embeddings.grad.abs().sum() > 0


def test_masking_spares_special_tokens(codec):
    input_ids, _ = codec.tokenize(REPORTS)
    masked = mask_tokens(input_ids, 0.5, codec.tokenizer, torch.Generator().manual_seed(0))
    special = torch.isin(input_ids, torch.tensor(codec.tokenizer.all_special_ids))
    assert torch.equal(masked[special], input_ids[special])
    share = (masked == codec.tokenizer.mask_token_id)[~special].float().mean()
    assert 0.35 < share < 0.65


def test_denoising_is_a_function_of_its_generator(codec):
    input_ids, mask = codec.tokenize(REPORTS)

    def loss(seed):
        return codec(input_ids, mask, Denoising(), torch.Generator().manual_seed(seed)).item()

    assert loss(1) == loss(1) != loss(2)


@pytest.mark.parametrize("field", ["token_mask_rate", "decoder_mask_rate", "embedding_noise"])
def test_wrong_denoising_is_named(field):
    with pytest.raises(ValueError, match=f"--{field.replace('_', '-')}"):
        Denoising(**{field: -0.1})


def test_overfits_to_exact_reconstruction(learned_codec):
    assert learned_codec.decode(learned_codec.encode(REPORTS)) == REPORTS
    beams = DecodingConfig("beam", num_beams=3)
    assert learned_codec.decode(learned_codec.encode(REPORTS), beams) == REPORTS


def test_sections_and_line_breaks(learned_codec):
    broken = [report.replace(" IMPRESSION", "\n\n  IMPRESSION") for report in REPORTS]
    assert learned_codec.decode(learned_codec.encode(broken)) == REPORTS
    assert normalize_report(" FINDINGS: a\r\n b\tc ") == "FINDINGS: a b c"


@pytest.mark.usefixtures("float64")
def test_greedy_is_the_argmax_of_full_passes(codec):
    """The cached `generate` against one full pass a token, as the published code decodes."""
    embeddings = codec.encode(REPORTS)[:1]
    ids = torch.tensor([[codec.bart.config.decoder_start_token_id]])
    for _ in range(12):
        states = BaseModelOutput(last_hidden_state=embeddings)
        logits = codec.bart(encoder_outputs=states, decoder_input_ids=ids, use_cache=False).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    wanted = codec.tokenizer.decode(ids[0], skip_special_tokens=True)
    assert codec.decode(embeddings, DecodingConfig(max_new_tokens=12)) == [normalize_report(wanted)]


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_report_depends_on_its_embedding_alone(learned_codec, method):
    """Mixtures of embeddings, whose reports are no learned text; same place, other neighbors."""
    embeddings = learned_codec.encode(REPORTS)
    weights = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    mixed = torch.einsum("bn,nkd->bkd", weights, embeddings)
    other = mixed.flip(0)
    other[2] = mixed[2]
    decoding = DecodingConfig(method, num_beams=2, temperature=2.0, top_p=0.95)

    def decode(batch, seed):
        # Item 2 has its own generator; those of the others change with the seed.
        seeds = [2 if place == 2 else 100 * seed + place for place in range(len(batch))]
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        return learned_codec.decode(batch, decoding, generators)

    assert decode(mixed, 1)[2] == decode(other, 2)[2]
    if method == "sample":
        assert len({decode(mixed, seed)[0] for seed in range(4)}) > 1


def test_sampling_follows_the_distribution():
    """Many draws against the known probabilities, of which top-p 0.9 cuts the last."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(2000)]
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(2000, -1)
    processors = sampling_processors(DecodingConfig("sample", top_p=0.9), generators, 2000)
    drawn = processors(torch.zeros(2000, 1, dtype=torch.long), scores).argmax(-1)
    share = torch.bincount(drawn, minlength=4) / 2000
    torch.testing.assert_close(share, torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    "decoding",
    [
        DecodingConfig(),
        DecodingConfig(max_new_tokens=7),
        DecodingConfig(no_repeat_ngram_size=2),
        DecodingConfig(min_new_tokens=40),
        DecodingConfig("sample", temperature=2.0, top_p=0.95),
        DecodingConfig("sample", temperature=2.0, top_p=1.0),
    ],
    ids=str,
)
def test_the_words_of_generate(learned_codec, decoding):
    """`transformers` writes the same from mixed embeddings, whose reports end at different places."""
    embeddings = learned_codec.encode(REPORTS)
    weights = torch.rand(9, len(REPORTS), generator=torch.Generator().manual_seed(0)).mul(4).softmax(-1)
    mixed = torch.einsum("bn,nkd->bkd", weights, embeddings)

    def generators():
        return [torch.Generator().manual_seed(seed) for seed in range(len(mixed))]

    options = generate_options(decoding, generators(), len(mixed), learned_codec.config.max_tokens)
    states = BaseModelOutput(last_hidden_state=mixed)
    output = learned_codec.bart.generate(encoder_outputs=states, **options)
    wanted = learned_codec.tokenizer.batch_decode(output, skip_special_tokens=True)
    decoded = learned_codec.decode(mixed, decoding, generators())
    assert decoded == [normalize_report(text) for text in wanted]
    assert len({len(text) for text in decoded}) > 1


def test_drafts_of_one_generator(learned_codec):
    """One generator for several items gives each numbers of its own; None writes as greedy decoding does."""
    embeddings = learned_codec.encode(REPORTS[:1]).flip(1)
    sampling = DecodingConfig("sample", temperature=3.0)
    drawn = [torch.Generator().manual_seed(1)] * 2 + [None]
    first, second, likeliest = learned_codec.decode(embeddings.expand(3, -1, -1), sampling, drawn)
    assert first != second
    assert likeliest == learned_codec.decode(embeddings)[0]
    one_by_one = torch.Generator().manual_seed(1)
    for wanted in (first, second):
        assert learned_codec.decode(embeddings, sampling, [one_by_one]) == [wanted]


def test_few_likely_tokens_or_many():
    """Where the likeliest tokens do not hold the nucleus, the whole vocabulary is looked at."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(4000)]
    flat = torch.zeros(4000, 200)
    drawn = NucleusSampler(DecodingConfig("sample", top_p=0.9), generators, 1)(torch.zeros(4000, 1), flat)
    counts = torch.bincount(drawn.argmax(-1), minlength=200)
    assert (counts > 0).sum() == 180
    assert counts.max() < 60  # 22 are expected of each


def test_a_token_does_not_depend_on_how_sure_its_neighbors_are():
    """Rows of a batch whose nucleus the likeliest tokens hold, and rows where they do not, as each alone."""
    scores = torch.randn(40, 300, generator=torch.Generator().manual_seed(0))
    scores[::2] *= 8.0
    decoding = DecodingConfig("sample", top_p=0.95)
    held = scores.softmax(-1).topk(LIKELIEST).values.sum(-1) > 0.95
    assert held[::2].all()
    assert not held[1::2].any()

    def draw(rows):
        generators = [torch.Generator().manual_seed(row) for row in rows]
        return NucleusSampler(decoding, generators, 1)(torch.zeros(len(rows), 1), scores[rows]).argmax(-1)

    together = draw(list(range(40)))
    assert torch.equal(together, torch.cat([draw([row]) for row in range(40)]))


def test_sampling_needs_a_generator_an_item(codec):
    with pytest.raises(ValueError, match="one generator an item"):
        codec.decode(codec.encode(REPORTS), DecodingConfig("sample"), [torch.Generator()])


def test_min_and_max_tokens(codec):
    embeddings = codec.encode(REPORTS)
    short = codec.decode(embeddings, DecodingConfig(max_new_tokens=5))
    assert all(len(codec.tokenizer(text)["input_ids"]) <= 5 + 2 for text in short)
    for wrong in ({"temperature": 0.0}, {"top_p": 1.5}, {"num_beams": 0}):
        with pytest.raises(ValueError, match="--"):
            DecodingConfig(**wrong)


def test_saved_codec_is_a_plain_bart_folder(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    loaded = ReportCodec.from_pretrained(tmp_path)
    embeddings = codec.encode(REPORTS)
    assert torch.equal(loaded.encode(REPORTS), embeddings)
    assert loaded.fingerprint() == codec.fingerprint() != make_codec(seed=1).fingerprint()
    assert not loaded.training

    bart = BartForConditionalGeneration.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(REPORTS, padding=True, return_tensors="pt")
    assert torch.equal(tokens["input_ids"], codec.tokenize(REPORTS)[0])
    assert torch.equal(bart(**tokens).logits, codec.bart(**tokens).logits)
    decoded = tokenizer.batch_decode(tokens["input_ids"], skip_special_tokens=True)
    assert decoded == REPORTS
    # Plain generate from the embeddings is the codec's greedy decoding.
    states = BaseModelOutput(last_hidden_state=embeddings)
    plain = tokenizer.batch_decode(bart.generate(encoder_outputs=states), skip_special_tokens=True)
    assert [normalize_report(text) for text in plain] == codec.decode(embeddings)
    assert json.loads((tmp_path / "codec.json").read_text())["num_embeddings"] == 3
    assert not list(tmp_path.glob("*.bin"))


def test_starts_from_a_bart_folder(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    bart, tokenizer = load_bart(str(tmp_path))
    started = ReportCodec(bart, tokenizer, CodecConfig("mean", 1, max_tokens=128))
    assert started.eval().encode(REPORTS).shape == (4, 1, SIZE.d_model)
    with pytest.raises(ValueError, match=r"--init-from .*neither"):
        load_bart(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="--max-tokens 200"):
        ReportCodec(bart, tokenizer, CodecConfig("mean", 1, max_tokens=200))


def test_bad_input_is_named(codec, tmp_path):
    with pytest.raises(ValueError, match="report 1 of 2 is empty"):
        codec.encode(["text", " \n "])
    with pytest.raises(ValueError, match="do not fit this codec"):
        codec.decode(torch.zeros(2, 5, SIZE.d_model))
    with pytest.raises(ValueError, match="do not fit this codec"):
        codec.loss(torch.zeros(2, SIZE.d_model), REPORTS[:2])
    with pytest.raises(ValueError, match=r"no codec\.json"):
        ReportCodec.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="--vocab-size 100"):
        train_tokenizer(REPORTS, 100, 64)


def test_long_and_foreign_text():
    codec = make_codec(max_tokens=24)
    ids, _ = codec.tokenize(["word " * 5000, "Кардиомегалия — 心"])
    assert ids.shape[1] == 24
    assert ids[0, -1] == codec.tokenizer.eos_token_id
    assert truncated_share(codec, ["word " * 5000, "heart"]) == 0.5
    text = "Größe: 心 ✓"
    assert codec.tokenizer.decode(codec.tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_source_keeps_rows_and_trims_padding(codec):
    source = ReportSource(codec, REPORTS)
    batch = source.get_batch(torch.tensor([2, 0]).numpy(), torch.Generator())
    ids, mask = codec.tokenize([REPORTS[2], REPORTS[0]])
    width = ids.shape[1]
    assert torch.equal(batch["input_ids"][:, :width], ids)
    assert torch.equal(batch["attention_mask"][:, :width], mask)
    assert batch["attention_mask"][:, width:].sum() == 0
