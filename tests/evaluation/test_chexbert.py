"""CheXbert's published checkpoint format, on a small encoder: keys, order of heads, classes, blanks."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from data_module.findings import FINDINGS
from evaluation.networks.chexbert import HEADS, CheXbert

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "edema", "left", "effusion", "is", "seen", "."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """chexbert.pth as DataParallel saved it (with the position_ids of its day), and vocab.txt beside it."""
    folder = tmp_path_factory.mktemp("chexbert")
    torch.manual_seed(0)
    encoder = BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=1,
            intermediate_size=32,
            max_position_embeddings=512,
        )
    )
    state = {f"module.bert.{key}": value for key, value in encoder.state_dict().items()}
    state["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
    for head in range(14):
        linear = torch.nn.Linear(64, 4 if head < 13 else 2)
        state[f"module.linear_heads.{head}.weight"] = 20.0 * linear.weight.detach()
        state[f"module.linear_heads.{head}.bias"] = linear.bias.detach()
    torch.save({"epoch": 7, "model_state_dict": state}, folder / "chexbert.pth")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


def _reference(folder, text):
    """The published forward pass of one report: dropout off, the first token, one head after the other."""
    state = torch.load(folder / "chexbert.pth", weights_only=True)["model_state_dict"]
    encoder = BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=1,
            intermediate_size=32,
        )
    ).eval()
    bert = {key.removeprefix("module.bert."): value for key, value in state.items() if ".bert." in key}
    encoder.load_state_dict(bert, strict=False)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
    with torch.no_grad():
        first = encoder(**tokens).last_hidden_state[0, 0]
    labels = {}
    for head, name in enumerate(HEADS):
        logits = (
            state[f"module.linear_heads.{head}.weight"] @ first + state[f"module.linear_heads.{head}.bias"]
        )
        labels[name] = {0: np.nan, 1: 1.0, 2: 0.0, 3: -1.0}[int(logits.argmax())]
    return [labels[name] for name in FINDINGS]


def test_labels_equal_the_published_forward_pass(folder):
    reports = ["No edema is seen.", "left effusion .\n\n edema", "effusion", "left " * 700, ""]
    found = CheXbert(folder / "chexbert.pth")(reports)
    expected = [_reference(folder, " ".join(text.split())) for text in reports[:4]]
    np.testing.assert_array_equal(found[:4], np.array(expected, np.float32))
    assert np.isnan(found[4]).all()
    assert len({*found[:4].ravel().tolist()} - {float("nan")}) > 2  # the heads do not all say one thing
    assert set(np.unique(found[:, 0][~np.isnan(found[:, 0])])) <= {1.0}  # No Finding is 1 or not mentioned


def test_order_of_heads_is_chexberts(folder):
    assert HEADS[0] == "Enlarged Cardiomediastinum"
    assert HEADS[12:] == ("Support Devices", "No Finding")
    assert set(HEADS) == set(FINDINGS)


def test_batches_do_not_change_labels(folder):
    labeler = CheXbert(folder / "chexbert.pth")
    reports = ["edema", "no left effusion is seen .", "left edema . no effusion", "seen"] * 12
    single = np.concatenate([labeler([text]) for text in reports[:4]])
    np.testing.assert_array_equal(labeler(reports), np.tile(single, (12, 1)))


def test_other_files_are_refused_by_name(folder, tmp_path):
    with pytest.raises(ValueError, match=r"chexbert:.*none\.pth: no such file"):
        CheXbert(tmp_path / "none.pth")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no model_state_dict"):
        CheXbert(tmp_path / "other.pth")
    saved = torch.load(folder / "chexbert.pth", weights_only=True)
    del saved["model_state_dict"]["module.linear_heads.13.bias"]
    torch.save(saved, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match="does not hold CheXbert"):
        CheXbert(tmp_path / "cut.pth")
