"""Early stopping, scores of an interval of their own, and folds."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from data_module.config import FoldConfig
from data_module.splits import split_by_fold, split_by_patient
from runtime.runs import RunFolder
from training.__main__ import main as training_main
from training.__main__ import summarize_folds
from training.config import TrainConfig
from training.loop import fit
from training.throughput import MEASURED


@dataclass(frozen=True)
class Config:
    out: Path = Path("out")
    """Folder."""
    folds: FoldConfig = field(default_factory=FoldConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


class Steps:
    """One number an item."""

    def __len__(self):
        return 8

    def get_batch(self, indices, generator):
        return {"x": torch.as_tensor(indices).float()[:, None]}


class Walk(nn.Module):
    """A weight that gradient descent moves by a constant, and a buffer that counts its training steps."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.count += 1
        return self.weight


def objective(model, batch, generator, target=0.3):
    """Pulls the weight up for ever; the validation loss is least at the target."""
    weight = model(batch["x"])
    if model.training:
        return {"loss": -weight.sum()}
    return {"loss": (weight - target).square().mean(), "psnr": -(weight - 0.5).square().mean()}


def save(model, folder):
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")


def train(out, score=None, folds=None, target=0.3, **changes):
    settings = {
        "num_steps": 40,
        "batch_size": 4,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "warmup_steps": 0,
        "schedule": "constant",
        "validate_every": 5,
        "checkpoint_every": 10,
        "mixed_precision": "no",
        "early_stopping": "loss",
        "patience": 2,
    }
    config = Config(out, folds or FoldConfig(), TrainConfig(**{**settings, **changes}))
    run = RunFolder.create(out, "test", config)
    torch.manual_seed(0)
    aimed = functools.partial(objective, target=target)
    losses = fit(Walk(), aimed, Steps(), Steps(), config.train, run, save, score=score)
    return run, losses


def weights(run):
    return load_file(run.model_dir / "model.safetensors")


def log(run):
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


def validated(run):
    return [line["step"] for line in log(run) if "validation_loss" in line]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_best_weights_are_kept_and_training_stops(tmp_path, ema):
    """The weight rises by 0.01 a step, so the loss is least near step 30, and patience 2 ends it 10 later."""
    run, losses = train(tmp_path / "run", num_steps=200, ema_decay=ema)
    lines = [line for line in log(run) if "validation_loss" in line]
    best = min(lines, key=lambda line: line["validation_loss"])
    assert lines[-1]["step"] == best["step"] + 10 == validated(run)[-1]
    assert losses["validation_loss"] == lines[-1]["validation_loss"]
    kept = weights(run)
    assert (kept["weight"] - 0.3).square().item() == pytest.approx(best["validation_loss"], abs=1e-6)
    assert kept["count"].item() == best["step"]  # buffers too are of the best step


def test_a_metric_that_is_better_high(tmp_path):
    run, _ = train(tmp_path / "run", num_steps=200, early_stopping="psnr")
    assert weights(run)["weight"].item() == pytest.approx(0.5, abs=0.03)


def test_min_delta_and_patience(tmp_path):
    """A gain below --min-delta is none: the first validation stays the best."""
    run, _ = train(tmp_path / "run", num_steps=200, min_delta=1.0, patience=3)
    assert validated(run) == [5, 10, 15, 20]
    assert weights(run)["count"].item() == 5


@pytest.mark.parametrize("kill_at", [33, 41])
@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path, kill_at):
    """The best so far and its weights come back from the checkpoint; 41: killed after the last step."""
    whole, _ = train(tmp_path / "whole", num_steps=200, ema_decay=0.5)
    assert validated(whole)[-1] == 40
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = [{os.path.dirname(__file__)!r}, {os.getcwd()!r}]
        import test_early_stopping as test
        from pathlib import Path
        plain, calls = test.objective, [0]
        def objective(model, batch, generator, target):
            calls[0] += model.training
            if calls[0] == {kill_at}:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(model, batch, generator, target)
        def save(model, folder):
            os.kill(os.getpid(), signal.SIGKILL)
        test.objective, test.save = objective, save
        test.train(Path({str(tmp_path / "cut")!r}), num_steps=200, ema_decay=0.5)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    resumed, losses = train(tmp_path / "cut", num_steps=200, ema_decay=0.5)
    assert log(whole) == log(resumed)
    assert losses == {name: value for name, value in log(whole)[-1].items() if name.startswith("validation")}
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_scores_have_their_own_interval(tmp_path):
    """Every 10 steps of validations every 5, and at the end; they see the averaged weights."""
    seen = []

    def score(model):
        seen.append(model.weight.item())
        return {"ssim": -abs(model.weight.item() - 0.2)}

    changes = {"num_steps": 35, "score_every": 10, "early_stopping": "ssim", "patience": 9, "ema_decay": 0.5}
    run, _ = train(tmp_path / "run", score, **changes)
    assert [line["step"] for line in log(run) if "validation_ssim" in line] == [10, 20, 30, 35]
    assert len(seen) == 4
    assert weights(run)["weight"].item() == pytest.approx(min(seen, key=lambda value: abs(value - 0.2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"early_stopping": "auroc"}, r"--early-stopping auroc: validation gives loss, psnr"),
        ({"validate_every": 0}, r"--early-stopping needs validation data and --validate-every"),
        ({"patience": 0}, r"--patience must be at least 1"),
    ],
)
def test_bad_settings_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", **changes)


def rows(count):
    patients = [f"p{number % (count // 2)}" for number in range(count)]
    return split_by_patient(patients, seed=0), patients


def test_folds_cover_every_patient_once():
    splits, patients = rows(2000)
    folds = [split_by_fold(splits, patients, FoldConfig(5, fold)) for fold in range(5)]
    validated = np.array([[name == "validation" for name in names] for names in folds])
    is_test = np.array([name == "test" for name in splits])
    assert (validated.sum(axis=0) == ~is_test).all()
    assert all([name == "test" for name in names] == is_test.tolist() for names in folds)
    share = validated.sum(axis=1) / (~is_test).sum()
    assert np.abs(share - 0.2).max() < 0.05
    for names in folds:
        by_patient = {}
        for patient, name in zip(patients, names, strict=True):
            assert by_patient.setdefault(patient, name) == name


def test_folds_are_not_the_split():
    """A patient's fold does not follow from the place that decided the split."""
    splits, patients = rows(4000)
    names = np.array(split_by_fold(splits, patients, FoldConfig(2, 0)))
    was_validation = np.array(splits) == "validation"
    assert 0.35 < (names[was_validation] == "validation").mean() < 0.65


def test_no_folds_keep_the_split():
    splits, patients = rows(100)
    assert split_by_fold(splits, patients, FoldConfig()) == splits


def test_wrong_folds_are_named():
    with pytest.raises(ValueError, match="--folds 5 --fold 5"):
        FoldConfig(5, 5)
    with pytest.raises(ValueError, match="no row is left in split"):
        split_by_fold(["train", "train"], ["a", "a"], FoldConfig(2, 0))


@pytest.fixture(scope="module")
def fold_runs(tmp_path_factory):
    """Three folds that end at 0.2, with the least loss at 0.1, 0.19 and 0.4."""
    root = tmp_path_factory.mktemp("folds")
    changes = {"num_steps": 20, "early_stopping": ""}
    return [
        train(root / f"fold_{fold}", folds=FoldConfig(3, fold), target=target, **changes)[0].root
        for fold, target in enumerate((0.1, 0.19, 0.4))
    ]


def test_folds_are_summarized(fold_runs, tmp_path, capsys):
    best = tmp_path / "best"
    line = ["folds", *map(str, fold_runs), "--out", str(tmp_path / "folds.md"), "--best", str(best)]
    training_main(line)
    text = (tmp_path / "folds.md").read_text()
    losses = [log(RunFolder.open(root, "test"))[-1]["validation_loss"] for root in fold_runs]
    assert "| 1 (best) | 20 |" in text
    assert f"| mean ± deviation | | {np.mean(losses):.4f} ± {np.std(losses, ddof=1):.4f} |" in text
    assert f"Best by loss: fold 1, {fold_runs[1] / 'model'}" in text
    assert text in capsys.readouterr().out
    assert "Best by psnr: fold" in summarize_folds(fold_runs, "psnr")[0]
    # The copy is the best fold's run, a run folder like any other.
    assert RunFolder.open(best, "test").config == RunFolder.open(fold_runs[1], "test").config
    models = [root / "model" for root in (best, fold_runs[1])]
    weights = [file.read_bytes() for root in models for file in root.glob("*.safetensors")]
    assert len(weights) == 2
    assert weights[0] == weights[1]
    training_main(line)  # again: nothing is left to do
    with pytest.raises(ValueError, match=r"--best .* holds another run"):
        training_main([*line, "--metric", "psnr"])
    training_main([*line, "--metric", "psnr", "--overwrite"])
    assert RunFolder.open(best, "test").config["folds"]["fold"] != 1


def test_folds_that_do_not_belong_together_are_named(fold_runs, tmp_path):
    with pytest.raises(ValueError, match="fold 2 is missing"):
        summarize_folds(fold_runs[:2])
    with pytest.raises(ValueError, match="two runs of one fold"):
        summarize_folds([*fold_runs, fold_runs[0]])
    with pytest.raises(ValueError, match="--metric auroc: the runs have loss, psnr"):
        summarize_folds(fold_runs, "auroc")
    with pytest.raises(ValueError, match="was trained without --folds"):
        summarize_folds([train(tmp_path / "plain", num_steps=2)[0].root])
    other, _ = train(tmp_path / "other", folds=FoldConfig(3, 2), num_steps=10, early_stopping="")
    with pytest.raises(ValueError, match="differ in train"):
        summarize_folds([*fold_runs[:2], other.root])


def test_a_log_without_the_metric_of_the_stop_is_named(fold_runs, tmp_path):
    copies = [shutil.copytree(root, tmp_path / root.name) for root in fold_runs]
    log_path = copies[1] / "metrics.jsonl"
    lines = log_path.read_text()
    log_path.write_text(lines.replace("validation_psnr", "validation_other"))
    assert "psnr" not in summarize_folds(copies)[0]  # what one fold lacks has no column
    log_path.write_text(lines.replace("validation_loss", "validation_other"))
    for copy in copies:
        config = json.loads((copy / "config.json").read_text())
        config["config"]["train"]["early_stopping"] = "loss"
        (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"fold_1: no validation of loss"):
        summarize_folds(copies)
