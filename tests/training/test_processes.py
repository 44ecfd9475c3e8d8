"""Runs of several real processes (gloo): one makes, checks and deletes, and all end with one model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import forked, tiny_training

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--preset", "stopping", "--num-validation", "9"]  # three batches of validation for two processes


def launch(out, *flags, num=2, kill_at=0):
    return forked.run_ranks(tiny_training.main, ["--out", str(out), *FLAGS, *flags], num=num, kill_at=kill_at)


def codes(ranks):
    return [ended.exitcode for ended in ranks]


def validations(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A run of two processes, and what each printed."""
    out = tmp_path_factory.mktemp("fresh") / "run"
    ranks = launch(out)
    assert codes(ranks) == [0, 0], ranks[0].output + ranks[1].output
    return out


def assert_same_run(out, fresh):
    weights = tiny_training.read_weights(fresh)
    for name, value in tiny_training.read_weights(out).items():
        assert torch.equal(value, weights[name]), name
    assert validations(out) == validations(fresh)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "metrics.jsonl", "model"]


def test_two_processes_differ_from_one(fresh, tmp_path):
    """They see twice the items: else the tests here would prove nothing of processes."""
    assert codes(launch(tmp_path / "one", num=1)) == [0]
    assert validations(tmp_path / "one").keys() == validations(fresh).keys()
    assert validations(tmp_path / "one") != validations(fresh)


def test_overwritten(fresh, tmp_path):
    assert codes(launch(tmp_path / "run", "--learning-rate", "0.01")) == [0, 0]
    refused = launch(tmp_path / "run")
    assert codes(refused) == [2, 2]
    assert sum(ended.output.count("error:") for ended in refused) == 1
    assert codes(launch(tmp_path / "run", "--overwrite")) == [0, 0]
    assert_same_run(tmp_path / "run", fresh)


@pytest.mark.parametrize("event", [5, 11, 17, 24])
def test_killed_and_resumed(fresh, tmp_path, event):
    assert codes(launch(tmp_path / "run", kill_at=event))[0] == -signal.SIGKILL
    assert codes(launch(tmp_path / "run")) == [0, 0]
    assert_same_run(tmp_path / "run", fresh)


def test_fewer_batches_of_validation_than_processes(tmp_path):
    """A process without one neither waits for ever nor changes the mean."""
    assert codes(launch(tmp_path / "run", "--num-validation", "3")) == [0, 0]
    assert validations(tmp_path / "run")


def read_validation(out, rank):
    """What `fit` gives back in this process."""
    from training import loop

    plain = loop._Trainer.validate

    def watched(trainer, data):
        means = plain(trainer, data)
        with Path(out, f"seen{os.environ['RANK']}").open("a") as file:
            file.write(json.dumps([trainer.step, means]) + "\n")
        return means

    loop._Trainer.validate = watched
    tiny_training.main(["--out", str(Path(out, "run")), *FLAGS])


def test_validation_is_equal_on_both(tmp_path):
    assert codes(forked.run_ranks(read_validation, str(tmp_path), "")) == [0, 0]
    seen = [(tmp_path / f"seen{rank}").read_text() for rank in range(2)]
    assert seen[0] == seen[1]
    assert seen[0].count("validation_loss") >= 3


def test_a_signal_to_one_stops_all_after_the_same_step(tmp_path):
    """As a launcher sends it, first to one process; the run goes on afterwards."""
    ranks = forked.run_ranks(stop_one, str(tmp_path / "run"))
    assert codes(ranks) == [130, 130], ranks[0].output + ranks[1].output
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_0000010"]


def stop_one(out):
    from training import loop

    plain = loop._Trainer._optimize

    def stopping(trainer, batches):
        if trainer.step == 3 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(trainer, batches)

    loop._Trainer._optimize = stopping
    tiny_training.main(["--out", out, "--num-steps", "40", "--checkpoint-every", "100"])


def test_the_launcher_itself(fresh, tmp_path):
    """torchrun: without an accelerator `accelerate launch --num_processes 2` starts one process."""
    script = ROOT / "tests" / "helpers" / "tiny_training.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(script), "--out", str(tmp_path / "run"), *FLAGS]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_run(tmp_path / "run", fresh)


def hold_and_wait(out):
    from runtime.locks import hold_folder

    hold_folder(Path(out))
    Path(out, "held").write_text("")
    time.sleep(60)


def test_a_second_run_into_the_folder_stops_at_once(tmp_path):
    """And changes nothing; after the first was killed it goes on."""
    import multiprocessing

    first = multiprocessing.get_context("forkserver").Process(
        target=hold_and_wait, args=(str(tmp_path / "run"),)
    )
    first.start()
    while not (tmp_path / "run" / "held").exists():
        time.sleep(0.05)
    for ranks in (launch(tmp_path / "run"), launch(tmp_path / "run", "--overwrite", num=1)):
        assert set(codes(ranks)) == {2}
        assert sum(ended.output.count("being written by another run") for ended in ranks) == 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "held"]
    first.kill()
    first.join()
    (tmp_path / "run" / "held").unlink()
    assert codes(launch(tmp_path / "run")) == [0, 0]
