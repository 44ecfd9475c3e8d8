"""BERTScore against the bert_score package on a tiny local model; METEOR with line breaks."""

import shutil

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from evaluation.reports.bert_score import BertScore
from evaluation.reports.meteor import score_meteor
from evaluation.reports.radgraph import score_radgraph

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "no",
    "the",
    "heart",
    "lungs",
    "clear",
    "are",
    "is",
    ".",
]
REFERENCES = ["The heart is clear.", "The lungs are clear. No heart.", "no", "lungs"]
REPORTS = ["Heart is clear", "No lungs. The heart is clear. The lungs are clear", "the lungs", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=0.5, **tiny)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", [2, 3])
def test_bert_score_equals_the_package(folder, layer):
    bert_score = pytest.importorskip("bert_score")
    _, _, expected = bert_score.score(
        REPORTS[:3], REFERENCES[:3], model_type=str(folder), num_layers=layer, idf=False, batch_size=2
    )
    found = BertScore(folder, layer)(REFERENCES, REPORTS)
    assert np.allclose(found[:3], expected.numpy(), rtol=1e-4)
    assert found[3] == 0.0
    assert len(np.unique(np.round(found, 4))) == 4


@pytest.mark.usefixtures("float64")
def test_bert_score_of_the_same_text_is_one_in_any_batch(folder):
    scorer = BertScore(folder)
    assert np.allclose(scorer(REFERENCES, REFERENCES), 1.0, atol=1e-5)
    alone = np.concatenate([scorer([a], [b]) for a, b in zip(REFERENCES, REPORTS, strict=True)])
    assert np.allclose(scorer(REFERENCES, REPORTS), alone, atol=1e-5)  # pairs are never mixed up


def test_bert_score_refuses_what_is_not_there(folder, tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded"):
        BertScore(tmp_path)
    with pytest.raises(ValueError, match="the model has 3 layers"):
        BertScore(folder, 7)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR runs on Java")
def test_meteor_with_line_breaks_and_empty_reports():
    references = ["The heart is normal.\nThe lungs are clear.", "No effusion."]
    scores = score_meteor(references, ["The heart is normal. The lungs\r\nare clear.", ""])
    assert scores[0] == pytest.approx(1.0)
    assert scores[1] == pytest.approx(0.0)


def test_without_java_or_radgraph_the_message_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="--meteor runs a Java program"):
        score_meteor(["a"], ["a"])
    monkeypatch.setitem(__import__("sys").modules, "radgraph", None)
    with pytest.raises(ValueError, match="pip install radgraph"):
        score_radgraph(["a"], ["a"], "radgraph-xl")
