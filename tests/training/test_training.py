"""The training loop: exact resume after a kill, the average, the log, and its error messages."""

import json
import os
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

from runtime.cli import parse_config
from runtime.config import from_dict, to_dict
from runtime.generators import make_generator
from runtime.runs import RunFolder, model_source
from training.config import TrainConfig
from training.loader import StepDataset
from training.loop import fit
from training.optimizer import make_optimizers
from training.throughput import MEASURED


@dataclass(frozen=True)
class Config:
    data: Path = Path("data")
    """Folder."""
    out: Path = Path("out")
    """Folder."""
    widths: tuple[int, ...] = (8, 4)
    """Widths."""
    train: TrainConfig = field(default_factory=TrainConfig)
    overwrite: bool = False
    """Start anew."""


class Regression:
    """Noisy points whose noise comes from the batch's generator."""

    def __len__(self):
        return 50

    def get_batch(self, indices, generator):
        x = torch.as_tensor(indices).float()[:, None] / 50
        return {"x": x + 0.01 * torch.randn(x.shape, generator=generator), "index": torch.as_tensor(indices)}


def objective(model, batch, generator):
    noise = 0.1 * torch.randn(batch["x"].shape, generator=generator, device=batch["x"].device)
    return {"loss": (model(batch["x"] + noise) - 2 * batch["x"]).square().mean()}


def save(model, folder):
    folder.mkdir(parents=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def new_model():
    torch.manual_seed(0)
    hidden = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)]
    return nn.Sequential(nn.Linear(1, 8), *hidden, nn.Dropout(0.2), nn.Linear(8, 1))


def train(out, **changes):
    settings = {"num_steps": 30, "batch_size": 8, "checkpoint_every": 10, "log_every": 5, "ema_decay": 0.9}
    config = Config(out=out, train=TrainConfig(**{**settings, **changes}))
    run = RunFolder.create(out, "test", config)
    losses = fit(new_model(), objective, Regression(), Regression(), config.train, run, save)
    return run, losses


def weights(run):
    return load_file(run.model_dir / "model.safetensors")


@pytest.mark.parametrize(
    ("precision", "num_micro", "optimizer"),
    [("no", 1, "adamw"), ("bf16", 2, "adamw"), ("bf16", 2, "muon")],
)
@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path, precision, num_micro, optimizer):
    """A process is killed between checkpoints by SIGKILL; the same command then ends with the same bits."""
    changes = {
        "mixed_precision": precision,
        "gradient_accumulation_steps": num_micro,
        "optimizer": optimizer,
    }
    whole, _ = train(tmp_path / "whole", **changes)
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = [{os.path.dirname(__file__)!r}, {os.getcwd()!r}]
        import test_training
        def objective(model, batch, generator, calls=[0]):
            calls[0] += 1
            if calls[0] == {17 * num_micro}:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(model, batch, generator)
        plain, test_training.objective = test_training.objective, objective
        from pathlib import Path
        test_training.train(Path({str(tmp_path / "cut")!r}), **{changes!r})
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "cut" / "checkpoints").glob("step_*")] == ["step_0000010"]
    resumed, _ = train(tmp_path / "cut", **changes)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name

    def log(run):
        lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
        return [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]

    assert log(whole) == log(resumed)


def stop_at(number):
    """The objective, whose call of this number gets the process a SIGTERM."""
    calls = []

    def stopping(model, batch, generator):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return objective(model, batch, generator)

    return stopping


def test_sigterm_leaves_a_checkpoint_of_the_step_it_was_in(tmp_path):
    config = Config(out=tmp_path / "run", train=TrainConfig(num_steps=20, batch_size=4))
    run = RunFolder.create(config.out, "test", config)
    with pytest.raises(KeyboardInterrupt):
        fit(new_model(), stop_at(7), Regression(), None, config.train, run, save)
    assert [path.name for path in run.checkpoint_dir.glob("step_*")] == ["step_0000007"]
    assert not run.finished


def new_convolutions():
    """Channels last, as the classifier is, whose 3x3 kernels then lie in memory unlike a checkpoint's."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Unflatten(1, (1, 1, 1)), nn.Conv2d(1, 4, 1), nn.Conv2d(4, 6, 3, padding=1))
    return nn.Sequential(layers, nn.Flatten(), nn.Linear(6, 1)).to(memory_format=torch.channels_last)


def test_convolutions_that_are_channels_last_go_on_with_their_own_moments(tmp_path):
    config = TrainConfig(num_steps=12, batch_size=8, checkpoint_every=100, mixed_precision="no")
    runs = [RunFolder.create(tmp_path / name, "test", Config(train=config)) for name in ("whole", "cut")]
    fit(new_convolutions(), objective, Regression(), None, config, runs[0], save)
    with pytest.raises(KeyboardInterrupt):
        fit(new_convolutions(), stop_at(6), Regression(), None, config, runs[1], save)
    fit(new_convolutions(), objective, Regression(), None, config, runs[1], save)
    whole, resumed = map(weights, runs)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path, monkeypatch, capsys):
    """Begun on a processor with bfloat16, gone on with on one without: the bits of bfloat16 all along."""

    def on_processor(flags):
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
        monkeypatch.setattr("runtime.precision.CPUINFO", tmp_path / "cpuinfo")

    on_processor("avx512_bf16")
    whole, _ = train(tmp_path / "whole")
    plain, _ = train(tmp_path / "plain", mixed_precision="no")
    config = Config(
        out=tmp_path / "run", train=TrainConfig(num_steps=30, batch_size=8, log_every=5, ema_decay=0.9)
    )
    run = RunFolder.create(config.out, "test", config)
    with pytest.raises(KeyboardInterrupt):
        fit(new_model(), stop_at(12), Regression(), Regression(), config.train, run, save)
    on_processor("avx2")
    resumed, _ = train(tmp_path / "run")
    assert "mixed precision: no" not in capsys.readouterr().out
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert any(not torch.equal(value, weights(plain)[name]) for name, value in weights(whole).items())


def test_accumulation_equals_one_large_batch(tmp_path):
    """Two micro-steps of 4 give the gradient of one step of 8 where nothing is random."""

    def plain(model, batch, generator):
        del generator
        return {"loss": (model(batch["index"][:, None].float() / 50) - 1).square().mean()}

    results = []
    for size, num_micro in ((8, 1), (4, 2)):
        config = TrainConfig(
            num_steps=5, batch_size=size, gradient_accumulation_steps=num_micro, mixed_precision="no"
        )
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        run = RunFolder.create(tmp_path / f"{num_micro}", "test", Config(train=config))
        fit(model, plain, Regression(), None, config, run, save)
        results.append(weights(run))
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name])


def test_average_is_the_plain_recursion(tmp_path):
    """EMA weights equal the recursion w <- d w + (1 - d) p with diffusers' ramp d = min(d, (1+n)/(10+n))."""
    seen = []

    def watching(model, batch, generator):
        seen.append(model[0].weight.detach().clone())
        return objective(model, batch, generator)

    config = Config(out=tmp_path / "run", train=TrainConfig(num_steps=12, batch_size=8, ema_decay=0.6))
    run = RunFolder.create(config.out, "test", config)
    model = new_model()
    fit(model, watching, Regression(), None, config.train, run, save)
    after = [*seen[1:], model[0].weight.detach()]
    average = seen[0]
    for number, weight in enumerate(after):
        decay = min(0.6, (1 + number) / (10 + number)) if number else 0.0
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(weights(run)["0.weight"], average)


def test_every_epoch_sees_every_item_once():
    class Indices:
        def __len__(self):
            return 10

        def get_batch(self, indices, generator):
            return {"index": torch.as_tensor(indices)}

    batches = StepDataset(Indices(), batch_size=4, seed=3)
    drawn = torch.cat([batches[step]["index"] for step in range(5)]).numpy()
    assert sorted(drawn[:10]) == list(range(10)) == sorted(drawn[10:20])
    assert not np.array_equal(drawn[:10], drawn[10:20])
    assert torch.equal(StepDataset(Indices(), 4, 3)[2]["index"], batches[2]["index"])


def test_generators_differ_by_every_key():
    draws = {
        torch.rand(1, generator=make_generator(*keys)).item() for keys in ((0, 1), (1, 0), (0, 1, 0), (0,))
    }
    assert len(draws) == 4


def test_run_folder_errors(tmp_path):
    run, _ = train(tmp_path / "run", num_steps=2)
    with pytest.raises(ValueError, match="holds a test run; a bart run is needed"):
        RunFolder.open(run.root, "bart")
    with pytest.raises(ValueError, match=r"num_steps = 2, now 3.*--overwrite"):
        train(tmp_path / "run", num_steps=3)
    train(tmp_path / "run", num_steps=2, log_every=1)  # a free setting may change
    with pytest.raises(ValueError, match="it has no config"):
        RunFolder.open(tmp_path, "test")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty and not a run folder"):
        RunFolder.create(tmp_path / "files", "test", Config(), overwrite=True)
    assert (tmp_path / "files" / "thesis.txt").is_file()
    unfinished = RunFolder.create(tmp_path / "new", "test", Config())
    with pytest.raises(ValueError, match="not finished"):
        RunFolder.open(unfinished.root, "test")


def test_model_source(tmp_path):
    run, _ = train(tmp_path / "run", num_steps=2)
    assert model_source(str(run.root), "test", "--model") == str(run.model_dir)
    assert model_source(str(run.model_dir), "test", "--model") == str(run.model_dir)
    assert model_source("owner/name", "test", "--model") == "owner/name"
    with pytest.raises(ValueError, match=r"--clip .*holds a test run"):
        model_source(str(run.model_dir), "clip", "--clip")
    with pytest.raises(ValueError, match=r"--clip .*no such folder"):
        model_source(str(tmp_path / "missing" / "folder"), "clip", "--clip")


def test_loss_that_is_not_finite_is_an_error(tmp_path):
    config = Config(out=tmp_path / "run", train=TrainConfig(num_steps=4, log_every=1))
    run = RunFolder.create(config.out, "test", config)

    def broken(model, batch, generator):
        return {"loss": model(batch["x"]).mean() * float("nan")}

    with pytest.raises(ValueError, match="loss is nan at step 1"):
        fit(new_model(), broken, Regression(), None, config.train, run, save)


def test_presets_flags_and_replay(tmp_path):
    presets = {"demo": Config(), "paper": Config(widths=(16,), train=TrainConfig(num_steps=7))}
    assert parse_config(presets, [], "doc") == presets["demo"]
    config = parse_config(presets, ["--preset", "paper", "--batch-size", "3", "--data", "x"], "doc")
    assert (config.train.num_steps, config.train.batch_size, config.widths) == (7, 3, (16,))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"kind": "test", "config": to_dict(config)}))
    assert parse_config(presets, ["--config", str(path)], "doc") == config
    with pytest.raises(ValueError, match="--preset 'papr': choose one of demo, paper"):
        parse_config(presets, ["--preset=papr"], "doc")
    with pytest.raises(ValueError, match="unknown setting"):
        from_dict(Config(), {"wdths": [1]}, "file")
    with pytest.raises(SystemExit):
        parse_config(presets, ["--bach-size", "3"], "doc")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.conv = nn.Linear(4, 4), nn.Conv1d(4, 4, 1)


def test_muon_takes_the_matrices_of_repeated_blocks_and_adamw_the_rest():
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(7, 4),
            "blocks": nn.ModuleList([Block(), Block()]),
            "head": nn.Linear(4, 7),
        }
    )
    model["head"].weight = model["embedding"].weight
    names = {id(p): name for name, p in model.named_parameters()}
    adamw, muon = make_optimizers(model, TrainConfig(optimizer="muon", weight_decay=0.1))
    decayed, kept, matrices = (
        {names[id(p)] for p in group["params"]} for group in adamw.param_groups + muon.param_groups
    )
    assert matrices == {"blocks.0.linear.weight", "blocks.1.linear.weight"}
    assert decayed == {"blocks.0.conv.weight", "blocks.1.conv.weight"}
    assert kept == set(names.values()) - matrices - decayed
    assert [group["weight_decay"] for group in adamw.param_groups + muon.param_groups] == [0.1, 0.0, 0.1]
    (alone,) = make_optimizers(model, TrainConfig())
    assert sum(len(group["params"]) for group in alone.param_groups) == len(names)
