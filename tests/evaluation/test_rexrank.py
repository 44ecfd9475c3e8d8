"""ReXrank's figures: worked by hand, against packages, and from made-up weights of the published form."""

import json
import math

import numpy as np
import pytest
import torch
from helpers.scored_folders import write_random_pairs
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
)

import prepare_data
from data_module.__main__ import main as data_module
from data_module.pairs import PairsFolder, write_pairs
from evaluation import evaluate
from evaluation.__main__ import main as evaluation
from evaluation.networks.chexbert import CheXbert
from evaluation.reports.radcliq import PARTS, V1, read_coefficients
from evaluation.reports.radgraph_json import (
    find_complete,
    find_entities,
    find_partial,
    find_relations,
    read_graphs,
    score_combined,
    set_f1,
)
from evaluation.reports.rexrank_bert_score import read_baseline, score_rexrank_bert
from evaluation.reports.rexrank_text import reference_text
from evaluation.reports.semb_score import score_embeddings
from evaluation.reports.sentence_bleu import score_sentence_bleu
from evaluation.reports.temporal import find_changes, score_temporal

REAL = [
    "FINDINGS: Heart size is normal. IMPRESSION: No effusion.",
    "FINDINGS: Small left effusion. IMPRESSION: Stable effusion.",
    "IMPRESSION: New right pneumothorax.",
    "FINDINGS: The lungs are clear.",
    "FINDINGS: Worsening edema, unchanged heart. IMPRESSION: Edema.",
    "IMPRESSION: Normal chest.",
    "FINDINGS: A pacemaker is in place. IMPRESSION: No change.",
    "FINDINGS: Left rib fracture. IMPRESSION: Fracture.",
    "FINDINGS: Consolidation of the right base. IMPRESSION: Pneumonia.",
    "FINDINGS: Low volumes. IMPRESSION: Atelectasis.",
]
MADE = [
    "Findings: Heart size is normal. Impression: No effusion.",
    "Findings: Small left effusion. Impression: Effusion.",
    "Right pneumothorax.",
    "Findings: The lungs are not clear.",
    "Findings: Edema, stable heart. Impression: Worsening edema.",
    "Chest",
    "Findings: No pacemaker.",
    "Findings: Right rib fracture. Impression: No fracture.",
    "",
    "Low volumes with atelectasis.",
]


def graph(*entities):
    """RadGraph's output of one report: (tokens, label, [(kind, number)])."""
    return {
        "text": "",
        "entities": {
            str(number): {
                "tokens": tokens,
                "label": label,
                "start_ix": 0,
                "end_ix": 0,
                "relations": [list(relation) for relation in relations],
            }
            for number, (tokens, label, relations) in enumerate(entities, start=1)
        },
    }


EFFUSION = graph(
    ("small", "OBS-DP", [("modify", "3")]),
    ("left", "ANAT-DP", []),
    ("effusion", "OBS-DP", [("located_at", "2")]),
)
LARGE = graph(
    ("large", "OBS-DP", [("modify", "3")]),
    ("left", "ANAT-DP", []),
    ("effusion", "OBS-DP", [("located_at", "2")]),
)
ABSENT = graph(("effusion", "OBS-DA", []))


def test_reference_text_is_rexranks():
    assert reference_text(REAL[0]) == "Findings: Heart size is normal. Impression: No effusion."
    assert reference_text(REAL[2]) == "Findings: None Impression: New right pneumothorax."


def test_bleu_2_by_hand():
    """real: a b c d (3 pairs of words); made: a c e g: 2 of 4 words, 0 of 3 pairs, smoothed to 0.1."""
    assert score_sentence_bleu("a b c d", "a c e g") == pytest.approx(math.sqrt(2 / 4 * 0.1 / 3))
    assert score_sentence_bleu("No effusion. Heart normal.", "Heart normal.") == pytest.approx(math.exp(-1))
    assert score_sentence_bleu("a b", "a b a b a b") == pytest.approx(math.sqrt(2 / 6 * 1 / 5))
    assert score_sentence_bleu("a b c", "d e f") == 0.0
    assert score_sentence_bleu("a b c", "") == 0.0
    assert score_sentence_bleu("Clear.", "clear .") == 1.0  # a full stop is a word of its own


def test_bleu_2_of_ten_reports_equals_fast_bleus():
    """What fast-bleu 0.0.90, which CXR-Report-Metric calls, gives for these pairs."""
    fast = [
        1.0,
        0.81703337,
        0.263597138,
        0.655298097,
        0.577350269,
        0.002130726,
        0.031726636,
        0.623609564,
        0.0,
        0.423947621,
    ]
    found = [score_sentence_bleu(reference_text(a), b) for a, b in zip(REAL, MADE, strict=True)]
    np.testing.assert_allclose(found, fast, rtol=1e-6)


def test_radgraph_by_hand():
    """EFFUSION against LARGE: 2 of 3 entities are shared, 1 of 2 relations."""
    a, b = EFFUSION["entities"], LARGE["entities"]
    assert set_f1(find_entities(a), find_entities(b)) == pytest.approx(2 / 3)
    assert set_f1(find_relations(a), find_relations(b)) == pytest.approx(1 / 2)
    assert score_combined(a, b) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert score_combined(a, a) == 1.0
    assert score_combined(a, ABSENT["entities"]) == 0.0  # OBS-DA is another label
    assert score_combined(ABSENT["entities"], ABSENT["entities"]) == 0.5  # no relation counts as none shared
    assert set_f1(find_partial(a), find_partial(b)) == pytest.approx(2 / 3)
    assert find_complete(a) == {
        ("small", "OBS-DP", "modify", "effusion"),
        ("left", "ANAT-DP"),
        ("effusion", "OBS-DP", "located_at", "left"),
    }
    assert set_f1(find_complete(a), find_complete(b)) == pytest.approx(2 / 3)


def test_radgraph_files_name_reports_or_number_them(tmp_path):
    path = tmp_path / "graphs.json"
    path.write_text(json.dumps({"0": EFFUSION, "1": ABSENT}))
    assert read_graphs(path, ["images/a.png", "images/b.png"]) == [EFFUSION["entities"], ABSENT["entities"]]
    path.write_text(json.dumps({"b": EFFUSION}))
    assert read_graphs(path, ["images/a.png", "images/b.png"]) == [{}, EFFUSION["entities"]]
    with pytest.raises(ValueError, match="holds none of the 1 reports"):
        read_graphs(path, ["c"])
    path.write_text(json.dumps({"b": {"entities": [1]}}))
    with pytest.raises(ValueError, match="no entities of RadGraph's form"):
        read_graphs(path, ["b"])


def test_temporal_by_hand():
    assert find_changes("Stable heart; newly worse. No change-over.") == {"stable", "worse", "change"}
    assert score_temporal("stable and new", "new and larger, new") == pytest.approx(0.5)
    assert score_temporal("clear", "clear lungs") == 1.0
    assert score_temporal("clear", "stable") == pytest.approx(0.0, abs=1e-9)
    assert score_temporal("stable", "clear") == pytest.approx(0.0, abs=1e-9)


def test_cosines_by_hand():
    real, made = (
        np.array([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]]),
        np.array([[6.0, 8.0], [0.0, 2.0], [0.0, 0.0]]),
    )
    np.testing.assert_allclose(score_embeddings(real, made), [1.0, 0.0, 0.0])


def test_radcliq_by_hand(tmp_path):
    """At the means it is the intercept; one deviation of RadGraph F1 takes its weight off."""
    at_means = np.array([V1.mean])
    assert V1.combine(at_means)[0] == pytest.approx(0.0, abs=1e-9)
    more = at_means + np.array([[V1.scale[0], 0.0, 0.0, 0.0]])
    assert V1.combine(more)[0] == pytest.approx(-0.377083683)
    perfect = V1.combine(np.ones((1, 4)))[0]
    by_hand = -sum(
        w * (1 - m) / s
        for w, m, s in zip((0.377083683, 0.3703001, 0.252616218), V1.mean[:3], V1.scale[:3], strict=True)
    )
    assert perfect == pytest.approx(by_hand, abs=1e-9)
    path = tmp_path / "v0.json"
    path.write_text(json.dumps({"mean": [0] * 4, "scale": [2] * 4, "weights": [1, 2, 3, 4], "intercept": 5}))
    assert read_coefficients(str(path)).combine(np.ones((1, 4)))[0] == 10.0
    with pytest.raises(ValueError, match=r"normalizer\.pkl"):
        read_coefficients("v0")
    path.write_text(json.dumps({"mean": [0], "scale": [1], "weights": [1], "intercept": 0}))
    with pytest.raises(ValueError, match="four numbers"):
        read_coefficients(str(path))
    assert len(PARTS) == len(V1.mean) == len(V1.scale) == len(V1.weights)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """A tiny model of distilroberta-base's form, with six layers and byte pairs."""
    folder = tmp_path_factory.mktemp("roberta")
    letters = [chr(code) for code in range(33, 127)]
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "Ġ", "Ġn", "no", "or", "ar", "Ġe", "ff"]
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nĠ n\nn o\no r\na r\nĠ e\nf f\n")
    RobertaTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=128
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(
        vocab_size=len(words), max_position_embeddings=130, initializer_range=0.5, pad_token_id=1, **sizes
    )
    RobertaModel(config).eval().save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("float64")
def test_bert_score_equals_the_package_as_rexrank_calls_it(roberta):
    bert_score = pytest.importorskip("bert_score")
    rows = "".join(f"{layer},0.2,0.4,{0.3 if layer == 5 else 0.9}\n" for layer in range(7))
    (roberta / "baseline.tsv").write_text(f"LAYER,P,R,F\n{rows}")
    references = list(map(reference_text, REAL))
    filled = [row for row, text in enumerate(MADE) if text]  # the package and transformers 5 trip over ""
    _, _, expected = bert_score.score(
        [MADE[row] for row in filled],
        [references[row] for row in filled],
        model_type=str(roberta),
        num_layers=5,
        rescale_with_baseline=True,
        lang="en",
        baseline_path=str(roberta / "baseline.tsv"),
        batch_size=256,
    )
    found = score_rexrank_bert(references, MADE, roberta)
    np.testing.assert_allclose(found[filled], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert found[8] == pytest.approx(-0.3 / 0.7)  # the empty one
    assert found[0] == pytest.approx(1.0, abs=1e-5)


def test_the_packaged_baseline_is_distilrobertas(tmp_path):
    pytest.importorskip("bert_score")
    assert read_baseline(tmp_path) == pytest.approx(0.8473319)


@pytest.fixture(scope="module")
def chexbert(tmp_path_factory):
    """chexbert.pth in its published form: module.bert.*, module.linear_heads.*."""
    folder = tmp_path_factory.mktemp("chexbert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "edema", "effusion", ".", ":", "impression"]
    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 32}
    encoder = BertModel(BertConfig(vocab_size=len(words), initializer_range=0.5, **sizes)).eval()
    state = {f"module.bert.{key}": value for key, value in encoder.state_dict().items()}
    for head in range(14):
        linear = torch.nn.Linear(64, 4 if head < 13 else 2)
        state[f"module.linear_heads.{head}.weight"] = linear.weight.detach()
        state[f"module.linear_heads.{head}.bias"] = linear.bias.detach()
    torch.save({"model_state_dict": state}, folder / "chexbert.pth")
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder, encoder


def test_chexbert_embeds_as_its_published_encoder_does(chexbert):
    """The first token's last hidden state, of each report by itself, an empty one too."""
    folder, encoder = chexbert
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    texts = ["No edema.", "Effusion.\n\nImpression: edema", "", "no " * 600]
    found = CheXbert(folder / "chexbert.pth").embed(texts)
    for row, text in enumerate(texts):
        tokens = tokenizer(" ".join(text.split()), return_tensors="pt", truncation=True, max_length=512)
        with torch.no_grad():
            first = encoder(**tokens).last_hidden_state[0, 0]
        np.testing.assert_allclose(found[row], first.numpy(), rtol=1e-4, atol=1e-5)


def test_all_of_rexrank_in_one_call(roberta, chexbert, tmp_path):
    """The same parts that the figures are made of, put together; inverse_radcliq is what ReXrank ranks by."""
    pytest.importorskip("bert_score")
    for name, graphs in (("real", [EFFUSION] * 10), ("made", [LARGE] * 9 + [EFFUSION])):
        content = {str(number): found for number, found in enumerate(graphs)}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    settings = {
        "distilroberta": roberta,
        "chexbert": chexbert[0] / "chexbert.pth",
        "radgraph_json": (tmp_path / "real.json", tmp_path / "made.json"),
        "device": "cpu",
        "num_bootstrap": 20,
    }
    asked = [
        "radcliq",
        "rexrank_bleu_2",
        "rexrank_bert_score",
        "semb_score",
        "radgraph_combined",
        "temporal_f1",
    ]
    found = evaluate(REAL, MADE, asked, radcliq="v1", **settings)["reports"]
    parts = ("radgraph_combined", "rexrank_bert_score", "semb_score", "rexrank_bleu_2")
    combined = V1.combine(np.array([[found[part] for part in parts]]))[0]  # linear: the mean of the means
    assert found["radcliq"] == pytest.approx(combined, rel=1e-6)
    assert found["inverse_radcliq"] == pytest.approx(1 / combined, rel=1e-6)
    assert found["radgraph_combined"] == pytest.approx(0.9 * (2 / 3 + 1 / 2) / 2 + 0.1)
    assert found["share_temporal_real"] == 0.4
    assert found["intervals"]["radcliq"][0] <= found["radcliq"] <= found["intervals"]["radcliq"][1]


def test_its_files_are_written_and_read(tmp_path):
    """A folder of two films a study goes out, its predictions come back, and are scored study by study."""
    made = write_random_pairs(tmp_path / "made", 8, 0, ("test",))
    made.table["study_id"] = [f"s{row // 2}" for row in range(8)]
    made.table["view"] = ["L", "PA"] * 4
    made.table["report"] = [f"FINDINGS: Film pair {row // 2}. IMPRESSION: Edema." for row in range(8)]
    made.table[["findings_section", "impression_section"]] = ""
    write_pairs(made.root, made.table, {}, "")
    data_module(["export", "--data", str(made.root), "--layout", "rexrank", "--out", str(tmp_path / "out")])
    studies = json.loads((tmp_path / "out" / "rexrank.json").read_text())
    assert list(studies) == ["s0", "s1", "s2", "s3"]
    assert studies["s1"]["image_path"] == ["2.png", "3.png"]
    assert studies["s1"]["key_image_path"] == "3.png"
    assert studies["s1"]["frontal_lateral"] == ["Lateral", "Frontal"]
    assert studies["s1"]["report"] == "Findings: Film pair 1. Impression: Edema."
    argv = ["csv", "--layout", "rexrank", "--table", str(tmp_path / "out" / "rexrank.json"), "--size", "32"]
    argv += ["--images", str(tmp_path / "out" / "images"), "--num-workers", "1"]
    prepare_data.main([*argv, "--out", str(tmp_path / "back")])
    back = PairsFolder.open(tmp_path / "back").table
    assert back["study_id"].tolist() == made.table["study_id"].tolist()
    assert back["report"].tolist() == made.table["report"].tolist()
    assert back["view"].fillna("").tolist() == ["L", ""] * 4
    table = made.table[["file_name", "report"]].iloc[1::2]
    table.to_csv(tmp_path / "reports.csv", index=False)
    flags = ["--real", str(made.root), "--reports", str(tmp_path / "reports.csv")]
    evaluation(["rexrank", *flags, "--out", str(tmp_path / "predictions.json")])
    predictions = json.loads((tmp_path / "predictions.json").read_text())
    assert predictions["s3"]["model_prediction"] == "FINDINGS: Film pair 3. IMPRESSION: Edema."
    found = evaluate(made.root, None, ["rexrank_bleu_2"], reports=tmp_path / "predictions.json")
    assert found["reports"]["num_scored"] == 4
    assert found["reports"]["rexrank_bleu_2"] == 1.0
    captions = [{"image_id": number, "caption": "Edema."} for number in range(8)]
    (tmp_path / "coco.json").write_text(json.dumps(captions))
    assert evaluate(made.root, None, ["bleu_1"], reports=tmp_path / "coco.json")["reports"]["num_scored"] == 8
    (tmp_path / "other.json").write_text('{"a": {"b": 1}}')
    with pytest.raises(ValueError, match="neither ReXrank's predictions nor COCO"):
        evaluate(made.root, None, ["bleu_1"], reports=tmp_path / "other.json")


def test_a_sections_name_asks_for_what_no_flag_asks_for():
    """metrics=["reports"] asked for BERTScore, too, and failed for want of a model."""
    found = evaluate(REAL, MADE, ["reports"], num_bootstrap=0)["reports"]
    assert "bleu_4" in found
    assert "rexrank_bleu_2" not in found
    assert "rexrank_bleu_2" in evaluate(REAL, MADE, "reports", num_bootstrap=0, rexrank=True)["reports"]


def test_radcliq_says_what_it_lacks():
    with pytest.raises(ValueError, match="needs --radgraph-json, --distilroberta, --chexbert"):
        evaluate(REAL, MADE, ["radcliq"], radcliq="v1")
    with pytest.raises(ValueError, match=r"radgraph_json=\.\.\."):
        evaluate(REAL, MADE, ["radgraph_combined"])
