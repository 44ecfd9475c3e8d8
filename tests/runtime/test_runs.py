"""Run folders from before a setting, or with names that have no folder in them."""

import dataclasses
import json
from pathlib import Path

import pytest
from helpers import tiny_training
from helpers.tiny_training import Config

from runtime.config import flatten, list_changed, list_defaults, to_dict
from runtime.contents import identify
from runtime.ledger import BlockLedger
from runtime.locks import release_folder
from runtime.runs import RunFolder, is_finished
from training.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class OnFile:
    """A run that learns from one file."""

    data: Path
    out: Path = Path("out")
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


def save_without(root, *names):
    """The run's config.json as one of before these settings."""
    path = root / "config.json"
    saved = json.loads(path.read_text())
    for name in names:
        part = saved["config"]
        *groups, last = name.split(".")
        for group in groups:
            part = part[group]
        del part[last]
    path.write_text(json.dumps(saved))


def begin(config):
    run = RunFolder.create(config.out, "tiny", config)
    release_folder(run.root)
    return run


@pytest.mark.parametrize("names", [["num_validation"], ["train.betas", "train.ema_decay"], ["train"]])
def test_a_setting_newer_than_a_run_had_its_default_there(tmp_path, names):
    config = Config(out=tmp_path / "run")
    begin(config)
    save_without(config.out, *names)
    begin(config)
    (config.out / "model").mkdir()
    assert is_finished(config)


@pytest.mark.parametrize("damaged", [[["data", "abc"]], "abc", {"data": ["abc"]}, 5])
def test_damaged_hashes_of_what_a_run_learned_from_are_named(tmp_path, damaged):
    (tmp_path / "film.txt").write_text("a")
    config = OnFile(tmp_path / "film.txt", tmp_path / "run")
    path = RunFolder.create(tmp_path / "run", "test", config).root / "config.json"
    release_folder(tmp_path / "run")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"contents": damaged}))
    with pytest.raises(ValueError, match=r"config\.json names no settings \(damaged\)"):
        RunFolder.create(tmp_path / "run", "test", config)


@pytest.mark.parametrize("damaged", [None, [], {"train.mixed_precision": 5}, {"other": "no"}])
def test_what_a_setting_came_to_is_chosen_once(tmp_path, damaged):
    run = begin(Config(out=tmp_path / "run"))
    path, name, choices = run.root / "config.json", "train.mixed_precision", ("no", "bf16")
    before = json.loads(path.read_text())
    if damaged is not None:
        path.write_text(json.dumps({**before, "settled": damaged}))
    assert run.settle(name, choices, lambda: "bf16") == "bf16"
    assert run.settle(name, choices, lambda: "no") == "bf16"
    saved = json.loads(path.read_text())
    assert saved.pop("settled")[name] == "bf16"
    assert saved == before
    begin(Config(out=tmp_path / "run"))  # still the same run


def test_a_newer_setting_with_another_value_is_another_run(tmp_path):
    begin(Config(out=tmp_path / "run"))
    save_without(tmp_path / "run", "num_validation", "train.ema_decay")
    for config, change in (
        (Config(tmp_path / "run", num_validation=7), "num_validation = 20, now 7"),
        (Config(tmp_path / "run", train=TrainConfig(ema_decay=0.5)), "train.ema_decay = 0.* now 0.5"),
    ):
        with pytest.raises(ValueError, match=change):
            begin(config)
        (config.out / "model").mkdir(exist_ok=True)
        assert not is_finished(config)


def test_a_preset_is_no_default(tmp_path):
    """What a preset says of a newer setting was not so before it."""
    config = dataclasses.replace(tiny_training.PRESETS["stopping"], out=tmp_path / "run")
    begin(config)
    begin(config)
    save_without(config.out, "train.early_stopping")
    with pytest.raises(ValueError, match=r"train\.early_stopping = '', now 'loss'"):
        begin(config)


def test_defaults_are_those_of_the_classes():
    found = list_defaults(OnFile(Path("a"), train=TrainConfig(batch_size=3)))
    assert "data" not in found
    assert found == {
        name: value for name, value in flatten(to_dict(OnFile(Path("a")))).items() if name != "data"
    }
    assert list_changed({"a": 1}, {"a": 1, "b": 2}, {"b": 2}) == []
    assert list_changed({"a": 1}, {"a": 1, "b": 2}, {"b": 3}) == ["b"]
    assert list_changed({"a": 1, "gone": 1}, {"a": 1}, {"a": 2}) == ["gone"]


def test_blocks_from_before_a_setting(tmp_path):
    ledger = BlockLedger(tmp_path / "blocks")
    ledger.begin({"seed": 0})
    assert ledger.find_change({"seed": 0, "steps": 9}, {"steps": 9}) == ""
    assert ledger.find_change({"seed": 0, "steps": 8}, {"steps": 9}) == "steps = 9, now 8"


def test_a_file_in_the_working_folder_counts_by_its_content(tmp_path, monkeypatch):
    """Its name has no slash, as that of a preset or an optimizer has none."""
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("a,b\n1,2\n")
    Path("adamw").write_text("no setting is this file")
    config = OnFile(Path("rows.csv"))
    begin(config)
    identity = identify(config)
    assert identity["data"] != "rows.csv"
    assert identity["train.optimizer"] == "adamw"
    begin(dataclasses.replace(config, data=tmp_path / "rows.csv"))
    Path("rows.csv").write_text("a,b\n1,3\n")
    with pytest.raises(ValueError, match="another content of data"):
        begin(config)
    assert identify(config) != identity


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda lines: [*lines[:4], *lines[2:]], [1, 2, 3, 4, 5, 6]),  # two lines are there twice
        (lambda lines: [*lines[:4], {**lines[1], "loss": 9.0}, *lines[4:]], [1, 2, 3, 4, 5, 6]),
        (lambda lines: [*lines[:2], {"step": 1e308}, *lines[3:]], [1, 2, 4, 5, 6]),
        (lambda lines: [*lines[:2], {"step": "text"}, {"step": True}, {}, *lines[3:]], [1, 2, 4, 5, 6]),
        (lambda lines: [], []),
    ],
)
def test_the_log_has_the_lines_whose_steps_rise(tmp_path, capsys, damage, kept):
    run = begin(Config(out=tmp_path / "run"))
    lines = [{"step": step, "loss": 1.0 / step} for step in range(1, 7)]
    damaged = damage(lines)
    run.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in damaged))
    assert [line["step"] for line in run.read_log()] == kept
    assert all(line == lines[line["step"] - 1] for line in run.read_log())
    lost = len({json.dumps(line) for line in damaged}) - len(kept)
    assert ("out of order or damaged left out" in capsys.readouterr().err) == (lost > 0)


@pytest.mark.parametrize("value", [{"a": 1.0}, [1.0], "1", None, True])
def test_a_line_with_something_other_than_a_number_is_left_out(tmp_path, capsys, value):
    run = begin(Config(out=tmp_path / "run"))
    good = [{"step": 1, "loss": 0.5}, {"step": 3, "loss": 0.25}]
    lines = [good[0], {"step": 2, "tflops_per_step": value}, good[1]]
    run.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.read_log() == good
    assert "1 line(s) out of order or damaged left out" in capsys.readouterr().err


def test_a_line_with_a_name_that_is_there_twice_is_damaged(tmp_path, capsys):
    run = begin(Config(out=tmp_path / "run"))
    run.metrics_path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 2.0, "loss": 3.0}\n')
    assert run.read_log() == [{"step": 1, "loss": 2.0}]
    assert "1 damaged line(s) left out" in capsys.readouterr().err
