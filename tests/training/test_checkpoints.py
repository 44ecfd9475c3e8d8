"""Checkpoints: nothing in them is run, damage is noticed, and an older whole one takes over."""

import json
import pickle
import random
import shutil

import pytest
import torch
from helpers import forked, tiny_training

from runtime.runs import RunFolder
from training.checkpoints import CHECKSUM, STATE, find_checkpoint, load_checkpoint, save_checkpoint
from training.state_file import load_state, save_state
from training.throughput import MEASURED

KILLED = -9


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    ended = forked.run(tiny_training.main, ["--out", str(out)])
    assert ended.exitcode == 0, ended.output
    return out


@pytest.fixture
def killed(tmp_path):
    """A run with two checkpoints whose process was killed."""
    out, flags = tmp_path / "run", ["--keep-checkpoints", "2"]
    for event in range(9, 40):  # the event after the second checkpoint has its name
        shutil.rmtree(out, ignore_errors=True)
        ended = forked.run(tiny_training.main, ["--out", str(out), *flags], kill_at=event)
        assert ended.exitcode == KILLED
        if len(list((out / "checkpoints").glob("step_*"))) == 2:
            return out
    raise AssertionError("no event left two checkpoints")


def finish(out):
    return forked.run(tiny_training.main, ["--out", str(out)])


def assert_same_run(out, whole):
    weights = tiny_training.read_weights(whole)
    for name, value in tiny_training.read_weights(out).items():
        assert torch.equal(value, weights[name]), name

    def log(folder):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]

    assert log(out) == log(whole)
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "metrics.jsonl", "model"]


def test_planted_pickles_are_not_run(killed, whole, tmp_path):
    """Under every name that accelerate and torch give to state."""
    ran = tmp_path / "ran"
    names = ("custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl", "optimizer.bin", "optimizer_1.bin")
    names += ("scheduler.bin", "scaler.pt", "random_states_0.pkl", "sampler.bin", "pytorch_model.bin")
    for folder in (killed / "checkpoints").glob("step_*"):
        for name in names:
            (folder / name).write_bytes(pickle.dumps(Payload(ran)))
    ended = finish(killed)
    assert ended.exitcode == 0, ended.output
    assert not ran.exists()
    assert_same_run(killed, whole)


def test_a_pickle_in_the_place_of_the_state_is_not_run(killed, tmp_path):
    ran = tmp_path / "ran"
    for folder in (killed / "checkpoints").glob("step_*"):
        (folder / STATE).write_bytes(pickle.dumps(Payload(ran)))
    ended = finish(killed)
    assert (ended.exitcode, ran.exists()) == (2, False)
    assert ended.output.count("error:") == 1
    assert "no checkpoint is whole" in ended.output
    assert "--overwrite" in ended.output


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "folder"])
def test_an_older_checkpoint_takes_over(killed, whole, damage):
    last = sorted((killed / "checkpoints").glob("step_*"))[-1]
    content = bytearray((last / STATE).read_bytes())
    if damage == "flip":
        content[random.Random(0).randrange(len(content))] ^= 4
    (last / STATE).unlink()
    if damage == "folder":
        (last / STATE).mkdir()
    elif damage != "gone":
        (last / STATE).write_bytes(content[: {"flip": None, "cut": len(content) // 2, "empty": 0}[damage]])
    ended = finish(killed)
    assert ended.exitcode == 0, ended.output
    assert f"{last}: " in ended.output
    assert "an older checkpoint is tried" in ended.output
    assert_same_run(killed, whole)


def test_a_line_cut_in_the_log_is_repaired(killed, whole):
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert finish(killed).exitcode == 0
    assert_same_run(killed, whole)


@pytest.mark.parametrize("preset", ["plain", "stopping"])
@pytest.mark.slow
def test_killed_at_every_event(tmp_path, preset):
    """Before and after each rename and each deletion of a folder: the same bits, and no leftover."""
    flags = ["--preset", preset]
    counted = forked.run(tiny_training.main, ["--out", str(tmp_path / "whole"), *flags])
    assert counted.exitcode == 0, counted.output
    assert counted.num_events > 20
    for event in range(1, counted.num_events + 1):
        out = tmp_path / str(event)
        assert forked.run(tiny_training.main, ["--out", str(out), *flags], kill_at=event).exitcode == KILLED
        ended = forked.run(tiny_training.main, ["--out", str(out), *flags])
        assert ended.exitcode == 0, ended.output
        assert_same_run(out, tmp_path / "whole")


def test_state_comes_back_exactly(tmp_path):
    """Tied weights, views, integer keys, the loss scaler of float16, odd dtypes and floats."""
    tied = torch.randn(3, 4)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    scaler.scale(torch.ones(1))
    state = {
        "tied": [tied, tied, tied.T, tied[0]],
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "groups": [{"lr": 0.1 + 0.2}]},
        "scaler": scaler.state_dict(),
        "dtypes": [torch.ones(2, dtype=d) for d in (torch.bool, torch.int64, torch.bfloat16, torch.uint8)],
        "floats": [float("inf"), 5e-324, 1e308, -0.0],
        "plain": {"none": None, "yes": True, "text": "ü", "empty": {}, "$odd": 1},
        "nothing": torch.empty(0, 3),
    }
    save_state(tmp_path / "state", state)
    back = load_state(tmp_path / "state")
    for kept, value in zip(back["tied"], state["tied"], strict=True):
        assert torch.equal(kept, value)
    for kept, value in zip(back["dtypes"], state["dtypes"], strict=True):
        assert torch.equal(kept, value)
        assert kept.dtype == value.dtype
    assert back["optimizer"]["state"][0]["step"] == 3
    assert back["optimizer"]["groups"] == state["optimizer"]["groups"]
    assert back["scaler"] == state["scaler"] != {}
    assert back["floats"] == state["floats"]
    assert back["plain"] == state["plain"]
    assert back["nothing"].shape == (0, 3)
    with pytest.raises(TypeError, match="a set cannot be written"):
        save_state(tmp_path / "other", {"a": {1}, "b": set()})


def test_the_oldest_checkpoints_are_dropped_and_a_damaged_one_is_written_anew(tmp_path):
    run = RunFolder(tmp_path, "test", {})
    for step in (1, 2, 3):
        save_checkpoint(run, step, {"x": torch.tensor(step)}, keep=2)
    assert sorted(p.name for p in run.checkpoint_dir.iterdir()) == ["step_0000002", "step_0000003"]
    (run.checkpoint_dir / "step_0000003" / CHECKSUM).write_text("0")
    (run.checkpoint_dir / "step_none").mkdir()
    assert load_checkpoint(find_checkpoint(run))[1]["x"] == 2
    save_checkpoint(run, 3, {"x": torch.tensor(30)}, keep=2)
    assert load_checkpoint(find_checkpoint(run)) == (3, {"x": torch.tensor(30)})
