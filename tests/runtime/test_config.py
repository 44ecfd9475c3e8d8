"""Settings as JSON and back, for every script and preset."""

import importlib
import json
from pathlib import Path

import pytest

from runtime.config import from_dict, to_dict

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [path.stem for path in sorted(ROOT.glob("*.py")) if "PRESETS = {" in path.read_text()]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_preset_comes_back_from_json(script):
    presets = importlib.import_module(script).PRESETS
    start = next(iter(presets.values()))
    for config in presets.values():
        assert from_dict(start, json.loads(json.dumps(to_dict(config))), "config.json") == config


def test_what_a_file_leaves_out_is_the_presets():
    presets = importlib.import_module("train_bart").PRESETS
    config = from_dict(presets["open-i"], {"train": {"batch_size": 3}, "data": "elsewhere"}, "config.json")
    assert (config.train.batch_size, config.data) == (3, Path("elsewhere"))
    assert config.train.num_steps == presets["open-i"].train.num_steps
    assert config.size == presets["open-i"].size


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"wdths": 1}, "wdths"),
        ({"train": {"steps": 1}}, "steps"),
        ({"max_tokens": "x"}, "max_tokens"),
        ({"max_tokens": 3.5}, "max_tokens"),
        ({"data": None}, "data"),
        ({"data": 3}, "data"),
        ({"train": 3}, "train"),
        ({"train": {"num_steps": "a"}}, "train.num_steps"),
        ({"train": {"num_steps": True}}, "train.num_steps"),
        ({"train": {"learning_rate": False}}, "train.learning_rate"),
        ({"train": {"optimizer": "sgd"}}, "train.optimizer"),
        ({"train": {"betas": [0.9]}}, "train.betas"),
        ({"denoising": {"token_mask_rate": 2.0}}, "token-mask-rate"),
    ],
)
def test_what_does_not_fit_is_named(values, named):
    with pytest.raises(ValueError, match=named):
        from_dict(importlib.import_module("train_bart").PRESETS["demo"], values, "config.json")
