"""The mimic-cxr source on made-up downloads, against the ledger of the tool that made them."""

import gzip
import json
import os
import shutil
import tracemalloc
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from helpers.mimic_tree import (
    FILE_FAULTS,
    LABEL_COLUMNS,
    LABEL_FAULTS,
    NUM_REFUSED_ENTRIES,
    REPORT_FAULTS,
    SECRET,
    TABLE_FAULTS,
    assert_same_bytes,
    find_differences,
    make_ledger,
    write_tree,
)
from PIL import Image

from data_module import tables
from data_module.pairs import PairsFolder
from data_module.sources.config import MimicConfig
from data_module.sources.mimic_cxr import prepare_mimic
from data_module.sources.mimic_files import find_tree
from data_module.sources.output import LIST_NAME

NUM_STUDIES = 420


@pytest.fixture(scope="module")
def ledger():
    return make_ledger(NUM_STUDIES, fault_share=0.3)


@pytest.fixture(scope="module")
def download(ledger, tmp_path_factory):
    """As `wget -r` leaves it, reports zipped."""
    return write_tree(tmp_path_factory.mktemp("download"), ledger)


@pytest.fixture(scope="module")
def prepared(download, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "pairs"
    assert prepare_mimic(MimicConfig(**download, out=out, size=16, num_workers=1))
    return PairsFolder.open(out)


def check_counts(pairs, expected, num_extra_lines=0):
    """Every count of a folder against the ledger."""
    assert find_differences(pairs.table, pairs.root, expected, num_extra_lines) == []
    on_disk = {str(path.relative_to(pairs.root)) for path in (pairs.root / "images").rglob("*.*")}
    assert on_disk == set(pairs.table["file_name"])


def test_every_count_matches_the_ledger(ledger, prepared):
    expected = ledger.expect(("PA", "AP"))
    faults = {**FILE_FAULTS, **TABLE_FAULTS, **LABEL_FAULTS, **REPORT_FAULTS}
    assert set(expected["reasons"]) == set(faults.values()), "the tree lacks a fault"
    check_counts(prepared, expected, NUM_REFUSED_ENTRIES)
    record = json.loads((prepared.root / "provenance.json").read_text())
    assert record["num_rows"] == len(prepared)
    assert record["splits"] == dict(expected["splits"])
    assert record["num_studies"] == expected["total"]["studies"]


def test_loose_reports_laterals_and_the_papers_split(ledger, tmp_path):
    download = write_tree(tmp_path / "download", ledger, wget=False, zipped=False)
    views = ("PA", "L", "")
    flags = {**download, "size": 16, "num_workers": 1, "split": "paper", "labels": "negbio"}
    prepare_mimic(MimicConfig(**flags, out=tmp_path / "out", views=views, validation_share=0.2))
    pairs = PairsFolder.open(tmp_path / "out")
    check_counts(pairs, ledger.expect(views, paper=0.2))
    group = pairs.table["patient_id"].str[:2]
    assert set(pairs.table["split"][group == "19"]) == {"test"}
    assert set(pairs.table["split"][group != "19"]) == {"train", "validation"}
    assert (pairs.table.groupby("patient_id")["split"].nunique() == 1).all()
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    rule = "p10 to p18 train, but for 20.0% of their patients, who validate; p19 tests"
    assert rule in record["split_rule"]
    assert rule in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ValueError, match=r"--validation-share 1\.5"):
        prepare_mimic(MimicConfig(**flags, out=tmp_path / "wrong", validation_share=1.5))


def test_the_paper_takes_pa_films_and_needs_no_split_table(download, tmp_path, ledger):
    flags = {**download, "size": 16, "num_workers": 1, "split": "paper"}
    prepare_mimic(MimicConfig(**flags, out=tmp_path / "out"))
    check_counts(PairsFolder.open(tmp_path / "out"), ledger.expect(("PA",), paper=0.01), NUM_REFUSED_ENTRIES)
    copied = copy_download(download, tmp_path) | {"out": tmp_path / "without", "split": "paper"}
    next(tmp_path.rglob("*split.csv.gz")).unlink()
    prepare_mimic(MimicConfig(**copied, patients=download["patients"], num_workers=1, validation_share=0))
    table = PairsFolder.open(tmp_path / "without").table
    assert (table["split"] == np.where(table["patient_id"].str.startswith("19"), "test", "train")).all()


def test_dicom_films_and_tables_elsewhere(tmp_path):
    small = make_ledger(60, seed=1, fault_share=0.3)
    download = write_tree(tmp_path / "download", small, dicom=True)
    (tmp_path / "tables").mkdir()
    for path in download["root"].rglob("*.csv.gz"):
        path.rename(tmp_path / "tables" / path.name)
    with pytest.raises(ValueError, match=r"split\.csv\.gz is not there.*--tables"):
        prepare_mimic(MimicConfig(**download, out=tmp_path / "out", size=16))
    config = MimicConfig(
        **download, tables=tmp_path / "tables", out=tmp_path / "out", size=16, num_workers=1, equalize=True
    )
    prepare_mimic(config)
    pairs = PairsFolder.open(tmp_path / "out")
    expected = small.expect(("PA", "AP"))
    assert Counter(pairs.table["split"]) == expected["splits"]
    with Image.open(pairs.image_paths[0]) as image:
        assert (image.size, image.mode) == ((16, 16), "L")


def test_rows_say_what_the_tables_say(ledger, prepared):
    rows = prepared.table.set_index("dicom_id")
    studies = [study for study in ledger.studies if study.labels and not study.fault]
    num_checked = 0
    for study in studies:
        for film in study.films:
            if film.dicom not in rows.index:
                continue
            row = rows.loc[film.dicom]
            assert row["file_name"] == f"images/{study.path}/{film.dicom}.png"
            assert (row["patient_id"], row["study_id"]) == (study.subject, study.study)
            for name, code in zip(LABEL_COLUMNS, study.labels, strict=True):
                assert row[name] == code or (code is None and np.isnan(row[name]))
            assert row["projection"] == "frontal"
            assert row["sex"] == "FM"[int(study.subject) % 2]
            assert row["age"] == 62  # 60 in 2178, a film of 2180
            number = int(study.study) % 3
            assert (row["findings_section"] == row["findings_section"]) == (number != 2)
            assert (row["impression_section"] == "No acute process.") == (number != 1)
            assert "FINAL REPORT" not in row["report"]
            num_checked += 1
    assert num_checked > 100


def test_films_of_a_study_stay_together(prepared):
    ids = prepared.table["study_id"]
    assert (ids != ids.shift()).sum() == ids.nunique()
    assert ids.duplicated().any()
    assert (prepared.table.groupby("patient_id")["split"].nunique() == 1).all()


def test_the_baselines_list(ledger, prepared):
    table = pd.read_csv(prepared.root / LIST_NAME, dtype=str)
    assert list(table) == ["subject_id", "study_id", "dicom_id", "image_path", "report_path"]
    assert table["study_id"].is_unique
    assert set(table["study_id"]) == set(prepared.table["study_id"])
    row = table.iloc[0]
    path = f"p{row['subject_id'][:2]}/p{row['subject_id']}/s{row['study_id']}"
    assert row["image_path"] == f"images/{path}/{row['dicom_id']}.jpg"
    assert row["report_path"] == f"reports/{path}.txt"


def test_a_finished_folder_is_left_alone_and_a_lost_film_is_made_again(download, tmp_path, capsys):
    config = MimicConfig(**download, out=tmp_path, size=16, num_workers=1)
    prepare_mimic(config)
    pairs = PairsFolder.open(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    prepare_mimic(config)
    assert "already done" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    content = pairs.image_paths[3].read_bytes()
    pairs.image_paths[3].unlink()
    prepare_mimic(config)
    assert pairs.image_paths[3].read_bytes() == content
    with pytest.raises(ValueError, match=r"other settings \(labels.*split"):
        prepare_mimic(MimicConfig(**download, out=tmp_path, size=16, labels="negbio", split="paper"))


def test_a_download_that_grows(ledger, prepared, download, tmp_path):
    """Reports and films come in while a run is broken off, and after another is finished."""
    flags = copy_download(download, tmp_path)
    flags["patients"] = download["patients"]
    config = MimicConfig(**flags, num_workers=1)
    zipped = next(tmp_path.rglob("*reports.zip"))
    with zipfile.ZipFile(zipped) as whole:
        some = [entry for entry in whole.infolist()[1:] if not entry.filename.startswith(("..", "/"))][:120]
        content = {entry.filename: whole.read(entry) for entry in some}
    everything = zipped.read_bytes()
    zipped.unlink()
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    prepare_mimic(config)
    assert 0 < len(PairsFolder.open(tmp_path / "out")) < len(prepared)
    zipped.write_bytes(everything)
    prepare_mimic(config)
    assert len(PairsFolder.open(tmp_path / "out")) < len(prepared)  # finished is finished
    prepare_mimic(MimicConfig(**flags, num_workers=1, refresh=True))
    assert_same_bytes(prepared.root, tmp_path / "out")
    # Broken off before the table: the outcomes stand for other films then.
    (tmp_path / "out" / "metadata.csv").unlink()
    zipped.unlink()
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, text in list(content.items())[40:]:
            archive.writestr(name, text)
    prepare_mimic(config)
    fewer = PairsFolder.open(tmp_path / "out")
    on_disk = {str(path.relative_to(fewer.root)) for path in (fewer.root / "images").rglob("*.*")}
    assert on_disk == set(fewer.table["file_name"])
    zipped.write_bytes(everything)
    prepare_mimic(MimicConfig(**flags, num_workers=1, refresh=True))
    assert_same_bytes(prepared.root, tmp_path / "out")


def test_no_patients_text_is_said(download, tmp_path, capfd, caplog):
    """Reports hold a name; it stands in the table, and nowhere that is printed, logged or listed."""
    config = MimicConfig(**download, out=tmp_path / "out", size=16, num_workers=1)
    prepare_mimic(config)
    with pytest.raises(ValueError) as error:
        prepare_mimic(MimicConfig(**download, out=tmp_path / "strict", size=16, num_workers=1, strict=True))
    said = "".join([*capfd.readouterr(), caplog.text, str(error.value)])
    for name in ("skipped.csv", "provenance.json", "README.md", LIST_NAME):
        said += (tmp_path / "out" / name).read_text()
    assert SECRET not in said
    assert SECRET in (tmp_path / "out" / "metadata.csv").read_text()
    assert "/" + str(tmp_path).strip("/") not in (tmp_path / "out" / "skipped.csv").read_text()


def copy_download(download, folder):
    for name in ("jpg", "reports"):
        source = download["root"].parent / name
        shutil.copytree(source, folder / name, symlinks=True, copy_function=os.link)
    return {"root": folder / "jpg", "reports": folder / "reports", "out": folder / "out", "size": 16}


@pytest.mark.parametrize(
    ("pattern", "damage", "message"),
    [
        ("*metadata.csv.gz", lambda data: data[: len(data) // 2], r"metadata\.csv\.gz: damaged or half"),
        ("*split.csv.gz", lambda data: b"", r"split\.csv\.gz: is empty"),
        ("*chexpert.csv.gz", lambda data: b"<html>401</html>", r"chexpert\.csv\.gz: damaged or half"),
        ("*reports.zip", lambda data: data[: len(data) // 2], r"--reports .*zip: damaged or half"),
        ("*reports.zip", lambda data: b"", r"--reports .*zip: damaged or half"),
    ],
)
def test_half_a_download_is_named(download, tmp_path, pattern, damage, message):
    flags = copy_download(download, tmp_path)
    path = next(tmp_path.rglob(pattern))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(damage(content))
    with pytest.raises(ValueError, match=message) as error:
        prepare_mimic(MimicConfig(**flags, num_workers=1))
    assert "\n" not in str(error.value)


def test_wrong_folders_are_named(download, tmp_path):
    flags = {**download, "out": tmp_path / "out", "size": 16}
    (tmp_path / "empty").mkdir()
    for change, message in (
        ({"root": tmp_path / "absent"}, "--root .*absent: no such folder"),
        ({"root": tmp_path / "empty"}, "--root .*empty: holds no folder with p10"),
        ({"reports": tmp_path / "absent"}, "--reports .*absent: no such file"),
        ({"reports": tmp_path / "empty"}, "--reports .*empty: holds no folder with p10"),
        ({"patients": tmp_path / "absent.csv.gz"}, "--patients .*absent"),
        ({"shard": "2/2"}, "--shard '2/2'"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare_mimic(MimicConfig(**{**flags, **change}))
    (tmp_path / "linked" / "a" / "p10").mkdir(parents=True)
    (tmp_path / "linked" / "up").symlink_to(tmp_path / "linked")
    assert find_tree(tmp_path / "linked", "--root") == tmp_path / "linked" / "a"
    (tmp_path / "two" / "a" / "p10").mkdir(parents=True)
    (tmp_path / "two" / "b" / "p11").mkdir(parents=True)
    with pytest.raises(ValueError, match="several downloads a, b"):
        prepare_mimic(MimicConfig(**{**flags, "root": tmp_path / "two"}))


def test_a_packed_bomb_for_a_table_is_not_unpacked(download, tmp_path, monkeypatch):
    flags = copy_download(download, tmp_path)
    path = next(tmp_path.rglob("*split.csv.gz"))
    path.unlink()
    path.write_bytes(gzip.compress(b"0" * 100_000_000))
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 10_000_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"split\.csv\.gz: more than 10,000,000 bytes unpacked"):
        prepare_mimic(MimicConfig(**flags, num_workers=1))
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


def test_a_packed_bomb_in_the_zip_is_not_unpacked(download, tmp_path, ledger):
    """An entry that claims to be small and unpacks to 200 MB is cut off and listed."""
    flags = copy_download(download, tmp_path)
    path = next(tmp_path.rglob("*reports.zip"))
    path.unlink()
    sound = [s for s in ledger.studies if not s.fault and not any(film.fault for film in s.films)]
    good = sound[:2]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"files/{good[0].path}.txt", b" " * 200_000_000)
        archive.writestr(f"files/{good[1].path}.txt", b"FINDINGS: Clear.")
    views = ("PA", "AP", "L", "", "LPO", "AP AXIAL", "XTABLE LATERAL")
    prepare_mimic(MimicConfig(**flags, num_workers=1, views=views))
    lines = pd.read_csv(tmp_path / "out" / "skipped.csv", dtype=str)
    bomb = lines[lines["item"].str.contains(good[0].study)]
    assert bomb["reason"].str.contains("more than 1,048,576 bytes").all()
    assert set(PairsFolder.open(tmp_path / "out").table["study_id"]) == {good[1].study}
