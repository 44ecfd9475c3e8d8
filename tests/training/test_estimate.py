"""--estimate: steps are taken and thrown away, what is left is counted, and nothing is written."""

import json
import re

import pytest
import torch
from helpers import forked, tiny_training

from runtime.estimates import measure_s, show_duration


def estimate(capsys, *flags):
    with pytest.raises(SystemExit) as stop:
        tiny_training.main([*map(str, flags), "--estimate"])
    assert not stop.value.code
    return capsys.readouterr().out


def test_a_new_run(tmp_path, capsys):
    said = estimate(capsys, "--out", tmp_path / "run", "--num-steps", 5000)
    assert re.search(r"run: \d+\.\d\d steps/s, \d+ items/s; 5,000 of 5,000 steps and 1250 validations", said)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_begun(tmp_path, capsys, monkeypatch):
    """What is left from its checkpoint on; the run ends with the bits of one that was never asked."""
    tiny_training.main(["--out", str(tmp_path / "whole")])

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        from training import loop

        plain = loop._Trainer._optimize
        patched.setattr(
            loop._Trainer, "_optimize", lambda self, b: stop() if self.step == 6 else plain(self, b)
        )
        with pytest.raises(KeyboardInterrupt):
            tiny_training.main(["--out", str(tmp_path / "run")])
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert "8 of 12 steps and 2 validations are left" in estimate(capsys, "--out", tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    tiny_training.main(["--out", str(tmp_path / "run")])
    weights = tiny_training.read_weights(tmp_path / "run")
    for name, value in tiny_training.read_weights(tmp_path / "whole").items():
        assert torch.equal(value, weights[name])


def test_two_processes_say_it_once(tmp_path):
    ranks = forked.run_ranks(tiny_training.main, ["--out", str(tmp_path / "run"), "--estimate"])
    assert [ended.exitcode for ended in ranks] == [0, 0], ranks[0].output + ranks[1].output
    assert sum(ended.output.count("steps/s") for ended in ranks) == 1
    assert not (tmp_path / "run").exists()


def test_the_measurement_warms_up_and_agrees_on_its_length():
    calls = []
    measure_s(lambda: calls.append(0), lambda count: 7)
    assert len(calls) == 3 + 7
    asked = []
    measure_s(lambda: None, lambda count: asked.append(count) or 1)
    assert asked == [50]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "40 s"), (600, "10 min"), (3 * 3600, "3.0 h"), (30 * 3600, "30.0 h"), (8.25 * 86400, "8.2 days")],
)
def test_durations(seconds, words):
    assert show_duration(seconds) == words


@pytest.mark.slow
def test_sampling(chain, tmp_path, capsys):
    import sample_pairs

    flags = chain.sample_flags(tmp_path / "out", num_pairs=5000)
    sample_pairs.main([*flags, "--estimate", "--dry-run"])
    said = capsys.readouterr().out
    config, _ = json.JSONDecoder().raw_decode(said)
    assert config["estimate"]
    assert re.search(r"[\d.]+ pairs/s in this process; 5,000 of 5,000 pairs are left: ", said)
    assert re.search(r"about \d+ MB in 5,000 films", said)
    assert not list(tmp_path.iterdir())
    sample_pairs.main(chain.sample_flags(tmp_path / "out", num_pairs=8))
    sample_pairs.main([*chain.sample_flags(tmp_path / "out", num_pairs=20, shard="0/2"), "--estimate"])
    said = capsys.readouterr().out
    assert "12 of 20 pairs are left" in said
    assert "with 2 such process(es)" in said
