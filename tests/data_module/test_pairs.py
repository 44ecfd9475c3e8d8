import json

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_module import pairs as pairs_module
from data_module.findings import FINDINGS
from data_module.pairs import COLUMNS, PairsFolder, write_pairs
from runtime.files import write_atomic
from runtime.provenance import provenance_record


def make_rows(num_rows=4, prefix="images/film"):
    return [
        {
            "file_name": f"{prefix}{number}.png",
            "report": f'FINDINGS: Film {number}, "quoted",\nwith NA and None. IMPRESSION: null.',
            "patient_id": f"00{number}",
            "study_id": "NA",
            "split": ("train", "train", "validation", "test")[number % 4],
            "Edema": (1, 0, -1, None)[number % 4],
            "age": 60.5 if number else None,
        }
        for number in range(num_rows)
    ]


def write(root, rows, **options):
    for row in rows:
        if row.get("file_name"):
            path = root / row["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 100).save(path)
    return write_pairs(root, rows, provenance_record({"size": 8}), "# Card\n", **options)


def test_round_trip(tmp_path):
    rows = make_rows()
    folder = write(tmp_path, rows, skipped=[{"item": "bad.png", "reason": "truncated"}])
    assert len(folder) == 4
    assert folder.has_films
    assert list(folder.table.columns) == list(COLUMNS)
    assert folder.table["report"].tolist() == [row["report"] for row in rows]
    assert folder.table["patient_id"].tolist() == ["000", "001", "002", "003"]  # text, not the number 0
    assert folder.table["study_id"].tolist() == ["NA"] * 4  # text, not missing
    np.testing.assert_array_equal(folder.labels[:, FINDINGS.index("Edema")], [1, 0, -1, np.nan])
    assert all(path.is_file() for path in folder.image_paths)
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["num_rows"] == 4
    assert record["num_skipped"] == 1
    assert {"command", "commit", "libraries"} <= set(record)
    assert (tmp_path / "skipped.csv").read_text() == "item,reason\nbad.png,truncated\n"


def test_splits(tmp_path):
    folder = write(tmp_path, make_rows())
    assert len(folder.split("train")) == 2
    assert folder.split("test").table.index.tolist() == [0]
    with pytest.raises(ValueError, match="choose one of"):
        folder.split("p19")
    only_train = write(tmp_path / "b", make_rows(2))
    with pytest.raises(ValueError, match="no row of split 'test'"):
        only_train.split("test")


def test_imagefolder_reads_it_unchanged(tmp_path):
    """`load_dataset` with names that hold the words by which it would split the files itself."""
    rows = make_rows()
    for name, row in zip(("a/film-1", "b/deep/00001_000", "c", "d_2"), rows, strict=True):
        row["file_name"] = f"images/{name}.png"
    folder = write(tmp_path / "pairs", rows, skipped=[{"item": "x", "reason": "y"}])
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(folder.root), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert len(loaded) == 4
    assert set(loaded.column_names) == {"image", *COLUMNS} - {"file_name"}
    by_patient = {row["patient_id"]: row for row in loaded}
    for number, row in enumerate(rows):
        # datasets reads the CSV by pandas' own rules, so that the id "000" comes back as 0.
        read = by_patient.get(row["patient_id"]) or by_patient[number]
        assert read["report"] == row["report"]
        assert read["split"] == row["split"]
        assert read["Edema"] == row["Edema"]
        assert read["image"].size == (8, 8)


@pytest.mark.parametrize("max_csv_rows", [100, 3])
def test_plain_datasets_respects_the_splits(tmp_path, monkeypatch, max_csv_rows):
    """No test row comes as a training row in silence, from a CSV or a parquet table."""
    monkeypatch.setattr(pairs_module, "MAX_CSV_ROWS", max_csv_rows)
    folder = write(tmp_path / "pairs", make_rows())
    for split, rows in folder.table.groupby("split"):
        loaded = datasets.load_dataset(str(folder.root), split, cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == {split}
        assert sorted(loaded[split]["report"]) == sorted(rows["report"])
    default = datasets.load_dataset(str(folder.root), cache_dir=str(tmp_path / "cache"))
    assert set(default) == {"train"}


def test_large_tables_are_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs_module, "MAX_CSV_ROWS", 3)
    rows = make_rows()
    folder = write(tmp_path / "pairs", rows)
    assert (tmp_path / "pairs" / "metadata.parquet").is_file()
    assert not (tmp_path / "pairs" / "metadata.csv").exists()
    monkeypatch.undo()
    as_csv = write(tmp_path / "csv", rows)
    pd.testing.assert_frame_equal(folder.table, as_csv.table, check_dtype=False)
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(folder.root), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert sorted(loaded["report"]) == sorted(row["report"] for row in rows)


def test_text_only_folder(tmp_path):
    rows = [{**row, "file_name": ""} for row in make_rows()]
    folder = write(tmp_path, rows)
    assert not folder.has_films
    assert not folder.split("train").has_films
    assert folder.manifest_hash() == PairsFolder.open(tmp_path).manifest_hash()
    with pytest.raises(ValueError, match="text-only"):
        _ = folder.image_paths


def test_paths_of_films_are_put_together_once(tmp_path):
    folder = write(tmp_path, make_rows())  # asked for row by row, they would go through all rows each time
    assert folder.image_paths is folder.image_paths
    assert folder.split("train").image_paths == [
        folder.image_paths[row] for row in folder.split_rows("train")
    ]


def test_manifest_hash_follows_rows_and_films(tmp_path):
    folder = write(tmp_path, make_rows())
    before = folder.manifest_hash()
    assert PairsFolder.open(tmp_path).manifest_hash() == before
    Image.effect_noise((8, 8), 50).save(folder.image_paths[0])
    assert folder.manifest_hash() != before
    folder.image_paths[0].unlink()
    with pytest.raises(ValueError, match=r"film0\.png"):
        folder.manifest_hash()
    other = write(tmp_path / "b", [{**row, "report": "other"} for row in make_rows()])
    assert other.manifest_hash() != before


def change(number, **values):
    rows = make_rows()
    rows[number].update(values)
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "file_name"),
        ([{"file_name": "a.png"}], "report, patient_id, split missing"),
        ([{**row, "file_name": "", "report": ""} for row in make_rows()], "report is empty in row 2"),
        (change(2, patient_id=None), "patient_id is empty in row 4"),
        (change(1, file_name=""), "file_name is empty in row 3"),
        (change(1, file_name="images/film0.png"), "more than one row"),
        (change(1, file_name="../secret.png"), "outside the folder"),
        (change(1, file_name="/etc/passwd"), "outside the folder"),
        (change(1, split="dev"), "split 'dev'"),
        (change(1, Edema=2), "Edema holds .*2"),
        (change(1, Edema="yes"), "Edema holds 'yes'"),
        (change(1, age="old"), "age holds 'old'"),
    ],
)
def test_a_broken_contract_is_named(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        write_pairs(tmp_path, rows, {}, "")
    assert not (tmp_path / "metadata.csv").exists()


def test_a_film_may_have_no_report(tmp_path):
    pairs = write_pairs(tmp_path, change(1, report=""), {}, "")
    assert pairs.table["report"][1] == ""
    assert PairsFolder.open(tmp_path).table["report"][1] == ""


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\xff\xfe\x00", b'a,"b\n1'])
def test_a_broken_table_is_named(tmp_path, content):
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"metadata\.csv"):
        PairsFolder.open(tmp_path)


def test_not_a_pairs_folder(tmp_path):
    with pytest.raises(ValueError, match="not a pairs folder"):
        PairsFolder.open(tmp_path / "nowhere")


def test_write_atomic_leaves_no_rest(tmp_path):
    write_atomic(tmp_path / "deep" / "a.txt", "one")
    write_atomic(tmp_path / "deep" / "a.txt", b"two")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "two"
