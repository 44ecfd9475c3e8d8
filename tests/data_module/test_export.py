"""Exports of a pairs folder: each is read by the field's plain tools, and back without a loss."""

import json
import tarfile

import datasets
import numpy as np
import pandas as pd
import pydicom
import pytest
from helpers.scored_folders import write_random_pairs
from PIL import Image

import prepare_data
from data_module.__main__ import main
from data_module.findings import FINDINGS
from data_module.pairs import COLUMNS, PairsFolder, write_pairs
from data_module.sources.open_i_layouts import read_any_reports, read_split

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Ids that look like numbers, empty cells before filled ones, text with quotes, breaks and accents."""
    root = tmp_path_factory.mktemp("export") / "made"
    table = write_random_pairs(root, 18, 5, SPLITS).table
    table["patient_id"] = [f"{row // 2:03d}" for row in range(18)]
    table["study_id"] = [f"0{row}" for row in range(18)]
    table["report"] = [f'FINDINGS: "Œdème", row {row}.\nNo more. IMPRESSION: None.' for row in range(18)]
    table["findings_section"] = [f'"Œdème", row {row}. No more.' for row in range(18)]
    table["impression_section"] = "None."
    table["age"] = [np.nan] * 10 + [63.0] * 4 + [0.5] * 4
    table["sex"] = [np.nan] * 9 + ["F"] * 9
    table["seed"] = [np.nan] * 8 + [7.0] * 10
    table["reference"] = [np.nan] * 12 + ["images/other.png"] * 6
    table["Fracture"] = [np.nan] * 11 + [1.0] * 4 + [-1.0] * 3
    table["code"] = [f"00{row}" for row in range(18)]
    write_pairs(root, table, {}, "# test\n")
    return PairsFolder.open(root)


def export(made, out, layout, *flags):
    main(["export", "--data", str(made.root), "--layout", layout, "--out", str(out), *flags])
    return out


def read_back(out, folder, *flags):
    argv = ["csv", "--table", str(folder), "--out", str(out), "--size", "32", "--num-workers", "1", *flags]
    prepare_data.main(argv)
    return PairsFolder.open(out)


def assert_nothing_lost(found, made):
    """Rows may come in the order of the splits; films may have another name, and nothing else."""
    assert len(found) == len(made)
    order = {study: row for row, study in enumerate(made.table["study_id"])}
    places = [order[study] for study in found.table["study_id"]]
    before = made.table.iloc[places].reset_index(drop=True)
    columns = [name for name in COLUMNS if name != "file_name"]
    pd.testing.assert_frame_equal(found.table[columns], before[columns])
    assert found.table["code"].astype(str).str.zfill(3).str[-3:].tolist() == [
        code[-3:].zfill(3) for code in before["code"].astype(str)
    ]
    for name, old in zip(found.image_paths, before["file_name"], strict=True):
        with Image.open(name) as film, Image.open(made.root / old) as original:
            np.testing.assert_array_equal(np.asarray(film), np.asarray(original))


def test_imagefolder_keeps_the_splits_for_plain_datasets(made, tmp_path):
    out = export(made, tmp_path / "out", "imagefolder")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(out))
    assert {name: len(rows) for name, rows in loaded.items()} == dict.fromkeys(SPLITS, 6)
    assert loaded["test"][0]["patient_id"].startswith("0")
    found = read_back(tmp_path / "back", out, "--layout", "datasets")
    assert_nothing_lost(found, made)
    assert sorted(found.table["file_name"]) == sorted(made.table["file_name"])


def test_webdataset_is_read_by_tarfile_and_datasets(made, tmp_path):
    out = export(made, tmp_path / "out", "webdataset", "--shard-size", "4")
    shards = sorted(path.name for path in out.glob("*.tar"))
    assert shards == [f"{split}-00000{shard}.tar" for split in sorted(SPLITS) for shard in (0, 1)]
    with tarfile.open(out / "train-000000.tar") as tar:
        names = tar.getnames()
        assert names[:3] == ["00000000.png", "00000000.txt", "00000000.json"]
        row = json.load(tar.extractfile(names[2]))
        assert tar.extractfile(names[1]).read().decode() == row["report"]
    loaded = datasets.load_dataset("webdataset", data_files={"train": str(out / "train-*.tar")})
    assert len(loaded["train"]) == 6
    assert loaded["train"][0]["png"].size == (32, 32)
    assert_nothing_lost(read_back(tmp_path / "back", out, "--layout", "datasets"), made)


def test_parquet_has_the_image_feature(made, tmp_path):
    out = export(made, tmp_path / "out", "parquet", "--shard-size", "4")
    files = {split: str(out / "data" / f"{split}-*.parquet") for split in SPLITS}
    loaded = datasets.load_dataset("parquet", data_files=files)
    assert isinstance(loaded["train"].features["image"], datasets.Image)
    assert loaded["train"].features["Fracture"] == datasets.Value("int64")
    row = loaded["test"][5]
    assert row["image"].size == (32, 32)
    assert (row["Fracture"], row["age"], row["seed"]) == (-1, 0.5, 7)
    found = read_back(tmp_path / "back", out, "--layout", "datasets")
    assert_nothing_lost(found, made)
    assert sorted(found.table["file_name"]) == sorted(made.table["file_name"])


def test_annotation_json_is_r2gens(made, tmp_path):
    out = export(made, tmp_path / "out", "annotation-json")
    content = json.loads((out / "annotation.json").read_text())
    assert list(content) == ["train", "val", "test"]
    entry = content["val"][0]
    assert {"id", "study_id", "subject_id", "report", "image_path", "split"} <= entry.keys()
    assert entry["split"] == "val"
    assert (out / "images" / entry["image_path"][0]).is_file()
    assert "FINDINGS" not in entry["report"]
    reports, skipped = read_any_reports(out / "annotation.json")  # the Open-I source's reader
    assert (len(reports), skipped) == (18, [])
    assert reports[0].findings == content["train"][0]["report"]
    assert set(read_split(out / "annotation.json").of_study.values()) == set(SPLITS)
    found = read_back(tmp_path / "back", out, "--layout", "r2gen", "--images", str(out / "images"))
    assert_nothing_lost(found, made)


def test_chexgenbench_has_the_columns_of_its_scripts(made, tmp_path):
    out = export(made, tmp_path / "out", "chexgenbench") / "assets"
    table = pd.read_csv(out / "CSV" / "prompt_INFO.csv")
    assert table["prompt"].tolist() == made.table["prompt"].tolist()
    assert table["annotated_prompt"].tolist() == table["prompt"].tolist()
    for name in table["img_savename"]:
        assert (out / "synthetic_images" / name).is_file()
    labels = eval(table["chexpert_labels"][17], {"nan": None})  # as its scripts read it: a literal
    assert set(labels) == set(FINDINGS)
    assert labels["Fracture"] == -1.0
    flags = ["--images", str(out / "synthetic_images"), "--image-column", "img_savename"]
    assert_nothing_lost(read_back(tmp_path / "back", out / "CSV" / "prompt_INFO.csv", *flags), made)


def test_dicom_films_and_reports(made, tmp_path):
    out = export(made, tmp_path / "out", "dicom")
    assert_nothing_lost(read_back(tmp_path / "back", out), made)
    files = PairsFolder.open(out).image_paths
    first, last = pydicom.dcmread(files[0]), pydicom.dcmread(files[17])
    assert last.ImageType == ["DERIVED", "SECONDARY"]
    assert (last.BurnedInAnnotation, last.ConversionType) == ("NO", "SYN")
    assert last.DerivationDescription.startswith("Synthetic film")
    assert (first.ConversionType, "Synthetic" in first.DerivationDescription) == ("WSD", False)  # no seed
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in files]
    assert len(set(uids)) == 18
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)
    report = pydicom.dcmread(out / "reports" / files[17].relative_to(out / "images"))
    texts = [
        item.ContentSequence[0].TextValue for item in report.ContentSequence if item.ValueType == "CONTAINER"
    ]
    assert texts == ['"Œdème", row 17. No more.', "None."]
    assert report.StudyInstanceUID == last.StudyInstanceUID
    image = next(item for item in report.ContentSequence if item.ValueType == "IMAGE")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == last.SOPInstanceUID


def test_dicom_of_jpeg_films_says_that_they_lost(tmp_path):
    (tmp_path / "made" / "images").mkdir(parents=True)
    film = np.random.default_rng(0).integers(0, 256, (33, 31), dtype=np.uint8)
    Image.fromarray(film).save(tmp_path / "made" / "images" / "a.jpg")
    row = {"file_name": "images/a.jpg", "report": "", "patient_id": "1", "split": "train"}
    made = write_pairs(tmp_path / "made", [row], {}, "")
    out = export(made, tmp_path / "out", "dicom", "--synthetic", "yes")
    read = pydicom.dcmread(out / "images" / "a.dcm")
    assert (read.LossyImageCompression, read.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert read.pixel_array.shape == (33, 31)  # an odd number of bytes
    assert read.ConversionType == "SYN"
    assert not (out / "reports").exists()


def test_dicom_objects_pass_pydicoms_own_checks(made, tmp_path):
    out = export(made, tmp_path / "out", "dicom")
    with pydicom.config.strict_reading():
        for path in [*out.rglob("*.dcm")][::5]:
            read = pydicom.dcmread(path)
            pydicom.dataset.validate_file_meta(read.file_meta)
            for element in read.iterall():
                _ = element.value


def test_what_cannot_be_exported_is_refused(made, tmp_path):
    with pytest.raises(ValueError, match="not empty"):
        export(made, made.root, "parquet")
    row = {"file_name": "", "report": "A.", "patient_id": "1", "split": "train"}
    (tmp_path / "texts").mkdir()
    texts = write_pairs(tmp_path / "texts", [row], {}, "")
    with pytest.raises(ValueError, match="no films"):
        export(texts, tmp_path / "a", "parquet")
    row = {**row, "file_name": "images/gone.png"}
    (tmp_path / "gone").mkdir()
    gone = write_pairs(tmp_path / "gone", [row], {}, "")
    with pytest.raises(ValueError, match="1 of its films are not there"):
        export(gone, tmp_path / "b", "parquet")
    with pytest.raises(ValueError, match="--shard-size 0"):
        export(made, tmp_path / "c", "parquet", "--shard-size", "0")
    assert not (tmp_path / "b").exists()


def test_the_same_folder_gives_the_same_bytes(made, tmp_path):
    for layout in ("webdataset", "annotation-json", "parquet"):
        first, again = (export(made, tmp_path / f"{layout}{n}", layout) for n in (0, 1))
        for path in (path for path in first.rglob("*") if path.is_file() and path.suffix != ".lock"):
            assert path.read_bytes() == (again / path.relative_to(first)).read_bytes(), path.name
