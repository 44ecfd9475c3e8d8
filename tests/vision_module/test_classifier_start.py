"""A classifier that starts from another run: pre-trained on some films, tuned on others."""

import json

import pytest
import torch
from transformers import AutoModelForImageClassification

import train_classifier
from vision_module.classifier import save_classifier, start_classifier


def test_a_run_starts_from_another_run(chain, tmp_path):
    """With a learning rate of 0 the weights are those it started from, of their size."""
    flags = ["--data", chain.run("data"), "--batch-size", "4", "--warmup-steps", "0", "--num-steps", "1"]
    start = ["--init-from", chain.run("classifier"), "--learning-rate", "0", "--weight-decay", "0"]
    train_classifier.main([*flags, *start, "--ema-decay", "0", "--out", str(tmp_path / "tuned")])
    before = AutoModelForImageClassification.from_pretrained(chain.run("classifier/model"))
    after = AutoModelForImageClassification.from_pretrained(tmp_path / "tuned/model")
    assert after.config.hidden_sizes == before.config.hidden_sizes == [8, 16]
    for name, weights in before.named_parameters():
        torch.testing.assert_close(after.get_parameter(name), weights)
    contents = json.loads((tmp_path / "tuned/config.json").read_text())["contents"]
    assert "init_from" in contents  # it counts by its content: another run under that name is another start
    train_classifier.main([*flags, *start[:2], "--learning-rate", "0.01", "--out", str(tmp_path / "moved")])
    moved = AutoModelForImageClassification.from_pretrained(tmp_path / "moved/model")
    assert not torch.equal(moved.classifier[-1].weight, before.classifier[-1].weight)


def test_what_is_no_start_is_refused(chain, tmp_path):
    with pytest.raises(ValueError, match=r"--init-from.*autoencoder"):
        start_classifier(chain.run("autoencoder"))
    with pytest.raises(ValueError, match=r"--init-from.*no such folder"):
        start_classifier("runs/not/there")
    model = start_classifier(chain.run("classifier"))
    model.config.label2id = {name: 13 - place for name, place in model.config.label2id.items()}
    model.config.id2label = {place: name for name, place in model.config.label2id.items()}
    save_classifier(model, tmp_path / "other_order", 64, {})
    with pytest.raises(ValueError, match="outputs are not the 14 findings"):
        start_classifier(str(tmp_path / "other_order"))
