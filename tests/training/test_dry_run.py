"""What a dry run counts: operations, and the steps that epochs come to."""

import json

import pytest
import torch
from torch import nn

import train_bart
import train_diffusion_clipUViT
from data_module.config import FoldConfig
from data_module.pairs import PairsFolder
from data_module.splits import count_train_rows
from training.config import TrainConfig
from training.dry_run import count_operations, describe_steps


def test_operations_of_a_known_model():
    """A matrix product of (7, 3) and (3, 5) takes 7 x 3 x 5 multiplications and as many additions."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2))
    assert count_operations(model, lambda model: model(torch.zeros(7, 3))) == 2 * 7 * (3 * 5 + 5 * 2)


def test_steps_of_epochs():
    config = train_bart.PRESETS["paper"]
    assert describe_steps(config, 1000) == "2,500 of 8 items: 20 epochs of 1,000"
    assert describe_steps(config, None).startswith("20 epochs of 8 items a step; as many as --data")
    assert describe_steps(train_bart.PRESETS["demo"], None) == "450 of 16 items"


def test_rows_of_the_train_split_and_of_a_fold(chain, tmp_path):
    pairs = PairsFolder.open(chain.run("data"))
    counts = pairs.table["split"].value_counts()
    assert count_train_rows(pairs.root) == counts["train"]
    of_folds = [count_train_rows(pairs.root, FoldConfig(2, fold)) for fold in (0, 1)]
    assert sum(of_folds) == counts["train"] + counts["validation"]  # each is trained on once
    assert count_train_rows(tmp_path) is None


def test_a_denoiser_trains_for_epochs(chain, tmp_path, capsys):
    """Its dry run says how many steps they come to, and so many it takes."""
    encoders = ["--autoencoder", chain.run("autoencoder"), "--clip", chain.run("clip")]
    sizes = ["--embed-dim", "32", "--depth", "3", "--num-heads", "2", "--warmup-steps", "0"]
    length = ["--num-epochs", "0.5", "--batch-size", "8", "--log-every", "1"]
    flags = ["--data", chain.run("data"), *encoders, *sizes, *length]
    rows = count_train_rows(chain.run("data"))
    num_steps = round(rows / 16)
    train_diffusion_clipUViT.main([*flags, "--out", str(tmp_path / "uvit"), "--dry-run"])
    assert f"\nsteps: {num_steps} of 8 items: 0.5 epochs of {rows}\n" in capsys.readouterr().out
    cache = str(chain.root / "cache")
    train_diffusion_clipUViT.main([*flags, "--out", str(tmp_path / "uvit"), "--cache", cache])
    lines = [json.loads(line) for line in (tmp_path / "uvit/metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == num_steps


def test_steps_that_are_asked_for_count_and_not_a_presets_epochs(capsys):
    """Otherwise `--preset paper --num-steps 10` would train for weeks."""
    train_bart.main(["--preset", "paper", "--num-steps", "10", "--dry-run"])
    assert "\nsteps: 10 of 8 items\n" in capsys.readouterr().out
    train_bart.main(["--preset", "paper", "--num_epochs=3", "--dry-run"])
    assert "\nsteps: 3 epochs of 8 items" in capsys.readouterr().out
    with pytest.raises(ValueError, match="give one"):
        train_bart.main(["--num-steps=10", "--num-epochs", "2", "--dry-run"])


def test_a_training_config_of_no_epochs_is_left_alone():
    assert describe_steps(type("Config", (), {"train": TrainConfig(num_steps=7)})(), 100) == "7 of 64 items"
