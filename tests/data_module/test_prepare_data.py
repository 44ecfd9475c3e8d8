"""prepare_data.py as a person runs it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import prepare_data
from data_module.pairs import PairsFolder
from runtime.cli import run_script


def make_input(folder):
    rows = [
        {"film": f"{number}.png", "patient": f"p{number}", "findings": "Effusion", "text": "A rib fracture."}
        for number in range(3)
    ]
    for number, row in enumerate(rows):
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16) // (number + 1)).save(
            folder / row["film"]
        )
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    columns = "--image-column film --patient-column patient --report-column text --labels-column findings"
    return [
        "csv",
        "--table",
        str(folder / "films.csv"),
        "--images",
        str(folder),
        *columns.split(),
        "--size",
        "16",
    ]


def test_a_table_from_the_command_line(tmp_path, capsys):
    argv = [*make_input(tmp_path), "--out", str(tmp_path / "out")]
    prepare_data.main(argv)
    assert "3 rows" in capsys.readouterr().out
    pairs = PairsFolder.open(tmp_path / "out")
    assert pairs.table["Pleural Effusion"].tolist() == [1, 1, 1]
    assert pairs.table["Fracture"].tolist() == [1, 1, 1]  # by the rule labeler, from the text
    assert pairs.table["source"].unique().tolist() == ["csv (notes)"]
    prepare_data.main(argv)
    assert "already done" in capsys.readouterr().out


def test_demo_from_the_command_line(tmp_path, capsys):
    argv = [
        "demo",
        "--num-studies",
        "6",
        "--size",
        "32",
        "--num-workers",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    prepare_data.main(argv)
    films = {path: path.stat().st_mtime_ns for path in PairsFolder.open(tmp_path / "out").image_paths}
    assert len(films) == 6
    prepare_data.main(argv)
    assert "already done" in capsys.readouterr().out
    assert films == {path: path.stat().st_mtime_ns for path in films}
    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        prepare_data.main([*argv, "--seed", "1"])


@pytest.mark.parametrize(
    "argv",
    [
        ["demo", "--num-studies", "1000"],
        ["csv", "--table", "absent.csv", "--images", "absent"],
        ["open-i"],
        ["open-i", "--images", "absent"],
        ["open-i", "--download", "absent"],
        ["mimic-cxr", "--root", "absent", "--reports", "absent.zip", "--workers", "3", "--shard", "0/4"],
    ],
)
def test_dry_run_reads_and_writes_nothing(tmp_path, argv, capsys):
    prepare_data.main([*argv, "--out", str(tmp_path / "out"), "--dry-run"])
    printed = capsys.readouterr().out
    assert "would write" in printed
    assert '"seed": 0' in printed
    assert list(tmp_path.iterdir()) == []


def test_shards_are_merged_from_the_command_line(tmp_path, capsys):
    flags = make_input(tmp_path)
    for shard in "01":
        prepare_data.main([*flags, "--out", str(tmp_path / shard), "--shard", f"{shard}/2"])
    # Three films are one block, which is the first shard's; the second has nothing to do.
    assert "films are left to the others" in capsys.readouterr().out
    merge = ["merge", "--parts", str(tmp_path / "0"), str(tmp_path / "1"), "--out", str(tmp_path / "out")]
    prepare_data.main([*merge, "--dry-run"])
    assert '"out"' in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    prepare_data.main(merge)
    assert "3 films joined" in capsys.readouterr().out
    prepare_data.main([*flags, "--out", str(tmp_path / "out")])
    assert "3 rows" in capsys.readouterr().out


def test_dry_run_counts_the_rows(tmp_path, capsys):
    prepare_data.main([*make_input(tmp_path), "--out", str(tmp_path / "out"), "--dry-run"])
    assert "would write 3 films" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["csv", "--table", "absent.csv", "--images", "."], "error: --table absent.csv: no such file"),
        (["demo", "--num-studies", "0"], "--num-studies 0"),
    ],
)
def test_errors_are_one_line(tmp_path, argv, message, capsys):
    with pytest.raises(SystemExit) as end:
        run_script(lambda: prepare_data.main([*argv, "--out", str(tmp_path / "out")]))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_typo_is_an_error(tmp_path):
    with pytest.raises(SystemExit) as error:
        prepare_data.main(["demo", "--out", str(tmp_path), "--num-study", "3"])
    assert error.value.code == 2
