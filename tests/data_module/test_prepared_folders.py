"""A prepared folder is kept or gone on with by the same settings, and no stranger's is touched."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from helpers.label_tables import NIH_ROWS, prepare

from data_module.pairs import PairsFolder
from data_module.sources import films as films_module


def test_a_finished_folder_is_kept_and_other_settings_are_refused(tmp_path):
    pairs = prepare(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in pairs.root.rglob("*")}
    assert len(prepare(tmp_path, num_workers=1)) == 4
    assert times == {path: path.stat().st_mtime_ns for path in pairs.root.rglob("*")}
    with pytest.raises(ValueError, match=r"other settings \(size\).*--overwrite"):
        prepare(tmp_path, size=32)
    with pytest.raises(ValueError, match="table_hash"):
        prepare(tmp_path, NIH_ROWS[:2])
    assert len(prepare(tmp_path, NIH_ROWS[:2], size=32, overwrite=True)) == 2
    assert len(list(pairs.root.rglob("*.png"))) == 2


def test_settings_of_an_older_folder(tmp_path):
    """One had another name then, and one was not there, which stands for its default."""
    pairs = prepare(tmp_path)
    path = pairs.root / "prepare.json"
    settings = json.loads(path.read_text())
    settings["colour"] = settings.pop("color")
    assert settings.pop("split_shares") == [0.8, 0.1, 0.1]
    path.write_text(json.dumps(settings))
    written = (pairs.root / "metadata.csv").stat().st_mtime_ns
    assert prepare(tmp_path).table.equals(pairs.table)
    assert (pairs.root / "metadata.csv").stat().st_mtime_ns == written
    for change, name in (({"color": "refuse"}, "color"), ({"split_shares": (0.6, 0.2, 0.2)}, "split_shares")):
        with pytest.raises(ValueError, match=rf"other settings \({name}\)"):
            prepare(tmp_path, **change)


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [Path.unlink, flip, cut, replace_by_pipe])
@pytest.mark.parametrize("name", ["film", "skipped.csv"])
def test_what_was_deleted_or_damaged_since_is_made_again(tmp_path, name, damage):
    pairs = prepare(tmp_path)
    path = pairs.image_paths[2] if name == "film" else pairs.root / name
    content = path.read_bytes()
    if damage is flip and name != "film":
        path.write_bytes(content + b"x")
    else:
        damage(path)
    prepare(tmp_path)
    assert path.is_file()
    assert path.read_bytes() == content


def test_damaged_settings_are_named(tmp_path):
    prepare(tmp_path)
    (tmp_path / "pairs" / "prepare.json").write_text("{")
    with pytest.raises(ValueError, match=r"prepare\.json"):
        prepare(tmp_path)


def test_a_strangers_folder_is_never_touched(tmp_path):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty"):
        prepare(tmp_path, overwrite=True)
    assert (tmp_path / "pairs" / "thesis.txt").is_file()


def test_what_a_run_left_that_was_killed_as_it_began_is_no_strangers(tmp_path):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / ".prepare.json.4711.tmp").write_text("{")
    prepare(tmp_path)
    assert not list((tmp_path / "pairs").glob(".*.tmp"))


def test_a_killed_conversion_goes_on(tmp_path, monkeypatch):
    prepare(tmp_path / "whole")
    read, seen = films_module.read_resized, []

    def read_two(path, *settings):
        seen.append(path)
        if len(seen) > 2:
            raise KeyboardInterrupt
        return read(path, *settings)

    monkeypatch.setattr(films_module, "read_resized", read_two)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "killed", num_workers=1)
    assert len(list((tmp_path / "killed" / "pairs").rglob("*.png"))) == 2
    half_written = tmp_path / "killed" / "pairs" / "images" / ".c.png.123.tmp"
    half_written.write_bytes(b"half a film")
    monkeypatch.setattr(films_module, "read_resized", lambda path, *s: seen.append(path) or read(path, *s))
    seen.clear()
    resumed = prepare(tmp_path / "killed")
    assert len(seen) == 2
    assert not half_written.exists()
    whole = PairsFolder.open(tmp_path / "whole" / "pairs")
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    for ours, theirs in zip(resumed.image_paths, whole.image_paths, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
