"""RaTEScore: worked by hand, and from made-up weights of the published form."""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DebertaV2Config,
    DebertaV2ForTokenClassification,
)

from evaluation import evaluate
from evaluation.networks.report_entities import (
    TYPES,
    EntityEncoder,
    EntityTagger,
    find_nearest,
    find_spans,
)
from evaluation.reports.ratescore import (
    AFFINITY,
    OPPOSITE,
    OPPOSITE_BEFORE,
    score_ratescore,
    weigh_entities,
)

LABELS = (
    *("B-ABNORMALITY", "I-ABNORMALITY", "B-NON-ABNORMALITY", "I-NON-ABNORMALITY", "B-DISEASE", "I-DISEASE"),
    *("B-NON-DISEASE", "I-NON-DISEASE", "B-ANATOMY", "I-ANATOMY", "O"),
)
# What the tagger below makes of each word.
WORDS = {
    "[PAD]": "O",
    "[UNK]": "O",
    "[CLS]": "O",
    "[SEP]": "O",
    "[MASK]": "O",
    "no": "O",
    ".": "O",
    "small": "O",
    ":": "O",
    "findings": "O",
    "impression": "O",
    "none": "O",
    "left": "B-ANATOMY",
    "lung": "I-ANATOMY",
    "pleura": "B-ANATOMY",
    "##l": "I-ANATOMY",
    "opacity": "B-ABNORMALITY",
    "edema": "B-DISEASE",
    "effusion": "I-DISEASE",
    "clear": "B-NON-ABNORMALITY",
    "absent": "B-NON-DISEASE",
}
SAME = {"a": 0, "b": 1, "d": 2, "na": 3, "nd": 4}  # places of TYPES


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """RaTE-NER's form, with weights that pass each word through unchanged, and tag it."""
    folder = tmp_path_factory.mktemp("rate-ner")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    config = DebertaV2Config(
        vocab_size=len(WORDS),
        hidden_size=len(WORDS),
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=4,
        type_vocab_size=0,
        position_biased_input=False,
        id2label=dict(enumerate(LABELS)),
        label2id={label: place for place, label in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    model = DebertaV2ForTokenClassification(config).eval()
    state = model.state_dict()
    for name in state:
        if name.endswith("output.dense.weight"):
            state[name].zero_()
    state["deberta.embeddings.word_embeddings.weight"].copy_(torch.eye(len(WORDS)))
    state["classifier.weight"].zero_()
    for place, label in enumerate(WORDS.values()):
        state["classifier.weight"][LABELS.index(label), place] = 1.0
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biolord")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(1)
    BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=0.5, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O O O", []),
        ("O B-X O O", [(1, 1, "X")]),
        ("O B-X I-X I-Y O O", [(1, 3, "X")]),  # the type is that of the B-
        ("O B-X B-Y I-Y O", [(1, 1, "X"), (2, 3, "Y")]),
        ("O I-X O B-X O", [(3, 3, "X")]),  # an I- of nothing is none
        ("O O B-X O", [(2, 2, "X")]),
        ("O O B-X I-X O", [(2, 3, "X")]),
        ("O O B-X I-X I-X", [(2, 3, "X")]),  # open at the end
        ("O B-X B-Y I-X", [(1, 1, "X")]),  # open at the end, and touched: lost, as published
        ("O B-X I-X B-Y O", [(1, 2, "X"), (3, 3, "Y")]),
    ],
)
def test_spans_of_tags(tags, spans):
    assert find_spans(tags.split()) == spans


def test_one_way_by_hand():
    """Two entities: one whose nearest says the same, one whose nearest denies it."""
    own, other = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.6], [0.6, 0.8], [-1.0, 0.0]])
    cosines, places = find_nearest(own, other)
    np.testing.assert_allclose(cosines, [0.8, 0.8])
    assert places.tolist() == [0, 1]
    types, nearest = np.array([SAME["a"], SAME["d"]]), np.array([SAME["a"], SAME["nd"]])
    weights = 0.2856134859160784, 0.3789136708096537  # anatomy_anatomy, disease_non-disease
    for opposite in (0.3612, 0.8716553966489615):
        expected = (0.8 * weights[0] + 0.8 * opposite * weights[1]) / sum(weights)
        assert weigh_entities(cosines, types, nearest, opposite) == pytest.approx(expected, rel=1e-12)
    # The other way: non-disease_disease weighs 0.1007.
    weights = 0.2856134859160784, 0.10073046076318157
    expected = (0.8 * weights[0] + 0.8 * 0.3612 * weights[1]) / sum(weights)
    assert weigh_entities(cosines, nearest, types, 0.3612) == pytest.approx(expected, rel=1e-12)
    for a, b in (("b", "na"), ("b", "nd"), ("d", "na"), ("nd", "b")):
        found = weigh_entities(np.ones(1), np.array([SAME[a]]), np.array([SAME[b]]))
        assert found == pytest.approx(OPPOSITE)
    for a, b in (("b", "d"), ("na", "nd"), ("a", "nd"), ("nd", "a")):
        assert weigh_entities(np.ones(1), np.array([SAME[a]]), np.array([SAME[b]])) == 1.0
    assert AFFINITY.shape == (len(TYPES), len(TYPES))


def test_entities_are_those_that_are_tagged(tagger):
    found = EntityTagger(tagger)(["Left lung opacity. No pleural edema effusion.", "", "Small. No"])
    assert found == [
        [
            ("left lung", "ANATOMY"),
            ("opacity", "ABNORMALITY"),
            ("pleural", "ANATOMY"),
            ("edema effusion", "DISEASE"),
        ],
        [],
        [],
    ]


def test_an_embedding_is_the_first_tokens(encoder):
    model, tokenizer = BertModel.from_pretrained(encoder).eval(), BertTokenizerFast.from_pretrained(encoder)
    found = EntityEncoder(encoder)(["edema", "left lung " * 20, "edema"])
    for words, row in zip(("edema", "left lung " * 20), found[:2], strict=True):
        tokens = tokenizer(words, truncation=True, max_length=30, return_tensors="pt")
        with torch.no_grad():
            expected = torch.nn.functional.normalize(model(**tokens).last_hidden_state[0, 0], dim=0)
        np.testing.assert_allclose(row, expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[2])


def test_scores_are_the_formulas(tagger, encoder):
    """An F1 of both ways, written out for two short reports; 0.5 where a report names nothing."""
    real = ["Left lung opacity. Edema.", "Edema.", "Clear.", "No."]
    made = ["Left lung clear.", "Edema.", "", "Opacity."]
    found, without = score_ratescore(real, made, tagger, encoder)
    a = [("left lung", "ANATOMY"), ("opacity", "ABNORMALITY"), ("edema", "DISEASE")]
    b = [("left lung", "ANATOMY"), ("clear", "NON-ABNORMALITY")]
    encode = EntityEncoder(encoder)
    vectors = {words: encode([words])[0].astype(float) for words, _ in a + b}

    def one_way(own, other, opposite):
        top = bottom = 0.0
        for words, kind in own:
            cosine, nearest = max((vectors[words] @ vectors[name], place) for name, place in other)
            weight = AFFINITY[TYPES.index(kind), TYPES.index(nearest)]
            opposed = {kind, nearest} in ({"ABNORMALITY", "NON-ABNORMALITY"}, {"DISEASE", "NON-ABNORMALITY"})
            top += cosine * weight * (opposite if opposed else 1.0)
            bottom += weight
        return top / bottom

    for row, opposite in zip(found, (OPPOSITE, OPPOSITE_BEFORE), strict=True):
        p, r = one_way(a, b, opposite), one_way(b, a, opposite)
        np.testing.assert_allclose(row, [2 * p * r / (p + r), 1.0, 0.5, 0.5], rtol=1e-5)
    assert without == 2


def test_in_results(tagger, encoder):
    texts = ["FINDINGS: Left lung opacity.", "IMPRESSION: No."], ["Left lung opacity.", "Clear."]
    folders = (tagger, encoder)
    found = evaluate(*texts, ["ratescore"], ratescore=folders, num_bootstrap=20, device="cpu")
    assert found["reports"]["ratescore"] == pytest.approx(0.75, abs=1e-5)  # 1 and 0.5
    assert found["reports"]["ratescore_before_0_6"] == found["reports"]["ratescore"]  # nothing is denied
    assert found["reports"]["num_without_entities"] == 1
    assert found["reports"]["intervals"]["ratescore"] is not None
    with pytest.raises(ValueError, match="--ratescore: give two folders"):
        evaluate(*texts, ["ratescore"], ratescore=(tagger,), num_bootstrap=0)
    with pytest.raises(ValueError, match=r"--ratescore .*biolord.* cannot be loaded"):
        evaluate(*texts, ["ratescore"], ratescore=(encoder, encoder), num_bootstrap=0)


def test_another_classifier_is_refused(tagger, tmp_path):
    model = DebertaV2ForTokenClassification.from_pretrained(tagger)
    model.config.id2label = {place: f"LABEL_{place}" for place in range(len(LABELS))}
    model.save_pretrained(tmp_path)
    BertTokenizerFast.from_pretrained(tagger).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="RaTE-NER's are O and B- and I- of ANATOMY"):
        EntityTagger(tmp_path)
