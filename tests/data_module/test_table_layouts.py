"""Published data sets by name, each from a small tree in its true form."""

import csv
import gzip
import importlib.util
import json
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import prepare_data
from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder
from data_module.sources.table_layouts import FilmFinder
from data_module.sources.vocabularies import NIH, PADCHEST, VINDR

PACKAGED = Path(importlib.util.find_spec("torchxrayvision").origin).parent / "data"
CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(FINDINGS)
PADCHEST_HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
    "Projection,MethodProjection,Pediatric,ReportID,Report,MethodLabel,Labels,Localizations"
)


def film(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def prepare(tmp_path, layout, table, *flags):
    argv = ["csv", "--layout", layout, "--table", str(table), "--out", str(tmp_path / "out")]
    prepare_data.main([*argv, "--size", "16", "--num-workers", "1", *flags])
    pairs = PairsFolder.open(tmp_path / "out")
    return pairs.table, json.loads((tmp_path / "out" / "provenance.json").read_text())


def findings(row):
    return {name: row[name] for name in FINDINGS if row[name] == row[name]}


def test_nih(tmp_path, capsys):
    """Films lie in folders of their own; test_list.txt gives the test, the rest is split by patient."""
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    lines = [header + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"]
    for number, labels in enumerate(("Effusion|Infiltration", "No Finding", "Hernia|Nodule")):
        lines.append(f"0000000{number}_000.png,{labels},0,{number},05{number}Y,F,PA,2682,2749,0.1,0.1,")
        film(tmp_path / "nih" / f"images_00{number + 1}" / "images" / f"0000000{number}_000.png", number)
    (tmp_path / "nih" / "Data_Entry_2017.csv").write_text("\n".join(lines))
    (tmp_path / "nih" / "test_list.txt").write_text("00000001_000.png\n")
    (tmp_path / "nih" / "train_val_list.txt").write_text("00000000_000.png\n00000002_000.png\n")
    table, record = prepare(tmp_path, "nih", tmp_path / "nih")
    assert [findings(row) for _, row in table.iterrows()] == [
        {"Lung Opacity": 1, "Pleural Effusion": 1},
        {"No Finding": 1},
        {"Lung Lesion": 1},
    ]
    assert table["split"].tolist()[1] == "test"
    assert set(table["split"].tolist()[::2]) <= {"train", "validation"}
    assert table["age"].tolist() == [50, 51, 52]
    assert (table["view"] == "PA").all()
    assert (table["sex"] == "F").all()
    assert record["labels_without_finding"] == {"Hernia": 1}
    assert "'Hernia' (1)" in capsys.readouterr().err
    assert record["sources"] == {"nih (text from labels)": 3}


def test_chexpert(tmp_path):
    root = tmp_path / "CheXpert-v1.0-small"
    rows = {
        "train": [
            ("train/patient00001/study1/view1_frontal.jpg", "Female,68,Frontal,AP", {"Edema": "-1.0"}),
            ("train/patient00001/study1/view2_lateral.jpg", "Female,68,Lateral,", {"Edema": "-1.0"}),
        ],
        "valid": [
            ("valid/patient64541/study1/view1_frontal.jpg", "Male,73,Frontal,PA", {"Fracture": "1.0"}),
        ],
    }
    for name, entries in rows.items():
        lines = [CHEXPERT]
        for path, about, codes in entries:
            film(root / path)
            cells = ",".join(codes.get(finding, "") for finding in FINDINGS)
            lines.append(f"CheXpert-v1.0-small/{path},{about},{cells}")
        (root / f"{name}.csv").write_text("\n".join(lines))
    table, record = prepare(tmp_path, "chexpert", root)
    assert table["split"].tolist() == ["train", "train", "validation"]
    assert table["view"].tolist() == ["AP", "L", "PA"]
    assert table["patient_id"].tolist() == ["patient00001", "patient00001", "patient64541"]
    assert table["study_id"].tolist()[2] == "patient64541_study1"
    assert [findings(row) for _, row in table.iterrows()] == [{"Edema": -1}, {"Edema": -1}, {"Fracture": 1}]
    assert table["sex"].tolist() == ["F", "F", "M"]
    again = tmp_path / "frontal"
    again.mkdir()
    frontal, _ = prepare(again, "chexpert", root, "--views", "PA", "AP")
    assert frontal["view"].tolist() == ["AP", "PA"]
    skipped = pd.read_csv(again / "out" / "skipped.csv")
    assert skipped["reason"].tolist() == ["left out: its view is not in --views"]
    assert record["num_patients"] == 2


def test_chexpert_plus(tmp_path):
    """Its paths are those of JPEG films; the download has PNG or DICOM ones in their place."""
    path = "train/patient42142/study5/view1_frontal.jpg"
    film(tmp_path / "plus" / "PNG" / path.replace(".jpg", ".png"))
    row = {
        "path_to_image": path,
        "path_to_dcm": path.replace(".jpg", ".dcm"),
        "frontal_lateral": "Frontal",
        "ap_pa": "AP",
        "deid_patient_id": "patient42142",
        "patient_report_date_order": "5",
        "report": "NARRATIVE: a whole note",
        "section_findings": "There is a left pleural effusion.\nNo pneumothorax.",
        "section_impression": "1. Left pleural effusion.",
        "age": "61.0",
        "sex": "Male",
        "split": "train",
    }
    pd.DataFrame([row]).to_csv(tmp_path / "plus" / "df_chexpert_plus_240401.csv")
    table, _ = prepare(tmp_path, "chexpert-plus", tmp_path / "plus")
    assert table.loc[0, "findings_section"] == "There is a left pleural effusion. No pneumothorax."
    assert table.loc[0, "impression_section"].endswith("Left pleural effusion.")
    assert (table.loc[0, "Pleural Effusion"], table.loc[0, "Pneumothorax"]) == (1, 0)  # the rule labeler
    assert (table.loc[0, "split"], table.loc[0, "sex"], table.loc[0, "age"]) == ("train", "M", 61)


def test_vindr_votes_of_three_readers(tmp_path):
    labels = ["Aortic enlargement", "Cardiomegaly", "Nodule/Mass", "Pleural effusion", "No finding"]
    votes = {"aa": ("11000", "11000", "10100"), "bb": ("00001", "00001", "00001")}
    header = ",".join(["image_id", "rad_id", *labels])
    lines = [header, *(f"{i},R{n},{','.join(v)}" for i, three in votes.items() for n, v in enumerate(three))]
    root = tmp_path / "vindr"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "image_labels_train.csv").write_text("\n".join(lines))
    test_lines = [header.replace("rad_id,", ""), "cc,0,0,0,1,0"]
    (root / "annotations" / "image_labels_test.csv").write_text("\n".join(test_lines))
    for name in ("train/aa", "train/bb", "test/cc"):
        film(root / f"{name}.png")
    table, record = prepare(tmp_path, "vindr", root)
    assert table["study_id"].tolist() == ["aa", "bb", "cc"]
    first = findings(table.loc[0])
    assert (first["Cardiomegaly"], first["Lung Lesion"], first["Pleural Effusion"]) == (1, -1, 0)
    assert findings(table.loc[1])["No Finding"] == 1
    assert table["split"].tolist()[2] == "test"
    assert "test" not in table["split"].tolist()[:2]
    assert record["labels_without_finding"] == {"Aortic enlargement": 1}


def test_vindr_boxes_as_kaggle_has_them(tmp_path):
    lines = [
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max",
        *(f"aa,No finding,14,R{reader},,,," for reader in (1, 2, 3)),
        *("bb,Pneumothorax,12,R8,1,2,3,4", "bb,Pneumothorax,12,R8,5,6,7,8", "bb,Pneumothorax,12,R9,1,2,3,4"),
        "bb,Calcification,2,R10,1,2,3,4",
    ]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    for name in ("aa", "bb"):
        film(tmp_path / "train" / f"{name}.png")
    table, record = prepare(tmp_path, "vindr", tmp_path / "train.csv")
    assert findings(table.loc[1])["Pneumothorax"] == 1  # two of three readers, one of them twice
    assert findings(table.loc[0]) == {"No Finding": 1, "Pneumothorax": 0}
    assert record["labels_without_finding"] == {}


def test_padchest(tmp_path, capsys):
    rows = [
        ("a.png", "0", "20140915", "s1", "p1", "1930.0", "F", "PA", "['pleural effusion', ' pacemaker']"),
        ("b.png", "1", "20130612", "s2", "p2", "1986.0", "M", "AP_horizontal", "['normal']"),
        ("c.png", "1", "20130612", "s3", "p3", "", "M", "L", "['scoliosis', 'rib fracture']"),
        ("d.png", "1", "20130612", "s4", "p4", "1986.0", "M", "PA", ""),
    ]
    with gzip.open(tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", "wt") as file:
        writer = csv.writer(file)
        writer.writerow(PADCHEST_HEADER.split(","))
        for number, (name, folder, date, study, patient, birth, sex, view, labels) in enumerate(rows):
            about = [number, name, folder, date, study, patient, birth, sex, "POSTEROANTERIOR", view]
            writer.writerow(
                [*about, "Manual review", "No", 1, "sin hallazg patolog", "Physician", labels, ""]
            )
            film(tmp_path / "images" / folder / name)
    packed = next(tmp_path.glob("PADCHEST*"))
    table, record = prepare(tmp_path, "padchest", packed, "--images", str(tmp_path / "images"))
    assert [findings(row) for _, row in table.iterrows()] == [
        {"Pleural Effusion": 1, "Support Devices": 1},
        {"No Finding": 1},
        {"Fracture": 1},
    ]
    assert table["age"].tolist()[:2] == [84, 27]
    assert np.isnan(table["age"].tolist()[2])
    assert table["view"].tolist() == ["PA", "AP", "L"]
    assert not table["report"].str.contains("hallazg").any()
    assert record["labels_without_finding"] == {"scoliosis": 1}
    assert "d.png" in (tmp_path / "out" / "skipped.csv").read_text()


def test_coco_captions(tmp_path):
    for name, number in (("train", 1), ("val", 2)):
        content = {
            "info": {},
            "licenses": [],
            "type": "captions",
            "images": [{"id": number, "file_name": f"f{number}.png", "height": 16, "width": 16}],
            "annotations": [{"id": 9, "image_id": number, "caption": f"There is a fracture. Film {number}."}],
        }
        (tmp_path / "coco").mkdir(exist_ok=True)
        (tmp_path / "coco" / f"captions_{name}.json").write_text(json.dumps(content))
        film(tmp_path / "coco" / "images" / f"f{number}.png")
    table, _ = prepare(tmp_path, "coco", tmp_path / "coco")
    assert table["split"].tolist() == ["train", "validation"]
    assert table["findings_section"].tolist() == [
        "There is a fracture. Film 1.",
        "There is a fracture. Film 2.",
    ]
    assert (table["Fracture"] == 1).all()


def test_r2gen_annotation(tmp_path):
    entry = {"id": "CXR2384_IM-0942", "report": "The heart is normal .", "split": "train"}
    entry["image_path"] = ["CXR2384_IM-0942/0.png", "CXR2384_IM-0942/1.png"]
    other = {
        "id": "x1",
        "study_id": 5,
        "subject_id": 7,
        "report": "A rib fracture .",
        "image_path": ["p7/x1.png"],
    }
    content = {"train": [entry], "val": [], "test": [{**other, "split": "test"}]}
    (tmp_path / "annotation.json").write_text(json.dumps(content))
    for name in (*entry["image_path"], *other["image_path"]):
        film(tmp_path / "images" / name)
    table, _ = prepare(tmp_path, "r2gen", tmp_path / "annotation.json", "--images", str(tmp_path / "images"))
    assert table["split"].tolist() == ["train", "train", "test"]
    assert table["patient_id"].tolist() == ["CXR2384_IM-0942", "CXR2384_IM-0942", "7"]
    assert table["study_id"].tolist()[2] == "5"


@pytest.mark.parametrize("form", ["saved", "hub"])
def test_a_dataset_on_disk_with_column_names_as_flags(tmp_path, form):
    """Classes are words again, and the films are the bytes that were stored."""
    pixels = [film(tmp_path / "raw" / f"{row}.png", row) for row in range(3)]
    features = datasets.Features(
        {
            "scan": datasets.Image(),
            "who": datasets.Value("int64"),
            "note": datasets.Value("string"),
            "labels": datasets.Sequence(datasets.ClassLabel(names=["No Finding", "Effusion", "Hernia"])),
        }
    )
    rows = {
        "scan": [str(tmp_path / "raw" / f"{row}.png") for row in range(3)],
        "who": [1, 1, 2],
        "note": ["A left effusion.", "", "Normal."],
        "labels": [[1, 2], [1], [0]],
    }
    whole = datasets.Dataset.from_dict(rows, features=features)
    if form == "saved":
        datasets.DatasetDict({"train": whole.select([0, 1]), "test": whole.select([2])}).save_to_disk(
            str(tmp_path / "set")
        )
    else:
        (tmp_path / "set" / "data").mkdir(parents=True)
        whole.select([0, 1]).to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
        whole.select([2]).to_parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet")
    flags = ["--image-column", "scan", "--patient-column", "who", "--report-column", "note"]
    table, _ = prepare(tmp_path, "datasets", tmp_path / "set", *flags, "--labels-column", "labels")
    assert table["split"].tolist() == ["train", "train", "test"]
    assert table["patient_id"].tolist() == ["1", "1", "2"]
    assert table["Pleural Effusion"].tolist()[:2] == [1, 1]
    assert table.loc[2, "report"] == "FINDINGS: Normal."
    for row, name in enumerate(table["file_name"]):
        with Image.open(tmp_path / "out" / name) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels[row])
    assert not list((tmp_path / "out" / ".parts").glob("films*"))


def test_films_are_found_by_the_end_of_their_path(tmp_path):
    for name in ("a/x.png", "b/x.png", "b/y.dicom"):
        film(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_bytes(b"")
    finder = FilmFinder(tmp_path)
    assert finder.find("y") == "b/y.dicom"
    assert finder.find("x.jpg") == "x.jpg"  # two of them: neither is taken
    assert FilmFinder(tmp_path, 2).find("deep/b/x.jpg") == "b/x.png"


@pytest.mark.parametrize(
    "layout", ["nih", "chexpert", "chexpert-plus", "vindr", "padchest", "coco", "r2gen", "rexrank"]
)
def test_another_table_is_refused_by_name(tmp_path, layout):
    path = tmp_path / ("other.json" if layout in ("coco", "r2gen", "rexrank") else "other.csv")
    path.write_text('{"a": 1}' if path.suffix == ".json" else "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"--table .*other"):
        prepare(tmp_path, layout, path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"--layout {layout} looks there for"):
        prepare(tmp_path, layout, tmp_path / "empty")


def test_vocabularies_name_labels_that_the_real_tables_hold():
    """Against the tables that torchxrayvision carries."""
    with gzip.open(PACKAGED / "Data_Entry_2017_v2020.csv.gz", "rt") as file:
        labels = {part for row in csv.DictReader(file) for part in row["Finding Labels"].split("|")}
    assert labels - set(NIH) == {"Emphysema", "Fibrosis", "Hernia"}
    assert set(NIH) <= labels
    with gzip.open(PACKAGED / "vinbigdata-train.csv.gz", "rt") as file:
        labels = {row["class_name"] for row in csv.DictReader(file)}
    unmapped = {"Aortic enlargement", "Calcification", "Other lesion", "Pulmonary fibrosis"}
    assert labels - set(VINDR) == unmapped
    with gzip.open(next(PACKAGED.glob("PADCHEST*")), "rt") as file:
        text = file.read()
    missing = [label for label in PADCHEST if f"'{label}'" not in text and f"' {label}'" not in text]
    assert not missing
    assert {code for codes in PADCHEST.values() for code in codes} == set(FINDINGS)
