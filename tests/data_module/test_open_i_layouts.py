"""Open-I in the three forms that people have it in: the official archive, Kaggle's tables, R2Gen's folder.

The names, columns and nesting are the true ones; the texts are made up.
"""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.open_i_archive import make_archive, report_xml
from PIL import Image

from data_module.sources.open_i import OpenIConfig, prepare_open_i
from data_module.sources.open_i_layouts import film_key, read_split, study_number

FILMS = {
    "1": ("IM-0001-3001", "IM-0001-4001"),  # lateral, frontal
    "3": ("IM-1384-1001",),
    "7": ("IM-2263-0001-0001", "IM-2263-0001-0002"),  # names of six numbers
    "9": ("IM-2407-1001",),
}
REPORTS = {
    "1": ("Clear lungs.", "Normal."),
    "3": ("Large heart.", "Cardiomegaly."),
    "7": ("Fluid at the right base.", ""),
    "9": ("", "Nothing new."),
}


def reasons_of(folder):
    table = pd.read_csv(folder / "skipped.csv", dtype=str, keep_default_na=False)
    return dict(zip(table["item"], table["reason"], strict=True))


def write_film(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 24), dtype=np.uint8)).save(path)


@pytest.fixture
def official(tmp_path):
    xml = {}
    for uid, films in FILMS.items():
        names = [f"CXR{uid}_1_{film}" if uid == "1" else f"CXR{uid}_{film}" for film in films]
        xml[f"ecgen-radiology/{uid}.xml"] = report_xml(f"CXR{uid}", *REPORTS[uid], films=names)
        for name in names:
            write_film(tmp_path / "png" / f"{name}.png")
    return {"reports": make_archive(tmp_path / "NLMCXR_reports.tgz", xml), "images": tmp_path / "png"}


@pytest.fixture
def kaggle(tmp_path):
    rows = [
        {
            "uid": uid,
            "MeSH": "Cardiomegaly/moderate;Opacity/lung/base/left" if uid == "3" else "normal",
            "Problems": "",
            "image": "Xray Chest PA and Lateral",
            "indication": "Cough",
            "comparison": "None.",
            "findings": findings,
            "impression": impression,
        }
        for uid, (findings, impression) in REPORTS.items()
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "indiana_reports.csv", index=False)
    films = [(uid, f"{uid}_{film}.dcm.png", film) for uid, named in FILMS.items() for film in named]
    laterals = ("IM-0001-3001", "IM-2263-0001-0002")
    projections = [
        {"uid": uid, "filename": name, "projection": "Lateral" if film in laterals else "Frontal"}
        for uid, name, film in films
    ]
    pd.DataFrame(projections).to_csv(tmp_path / "indiana_projections.csv", index=False)
    for _, name, _ in films:
        write_film(tmp_path / "images" / "images_normalized" / name)
    return {
        "reports": tmp_path / "indiana_reports.csv",
        "projections": tmp_path / "indiana_projections.csv",
        "images": tmp_path / "images",
    }


@pytest.fixture
def r2gen(tmp_path):
    ids = {
        "1": ("CXR1_1_IM-0001", "train"),
        "3": ("CXR3_IM-1384", "val"),
        "7": ("CXR7_IM-2263-0001", "test"),
    }
    annotation = {"train": [], "val": [], "test": []}
    for uid, (name, split) in ids.items():
        paths = [f"{name}/{place}.png" for place in range(2)]
        entry = {"id": name, "report": REPORTS[uid][0], "image_path": paths, "split": split}
        annotation[split].append(entry)
        for path in paths:
            write_film(tmp_path / "iu_xray" / "images" / path)
    (tmp_path / "iu_xray" / "annotation.json").write_text(json.dumps(annotation))
    return tmp_path / "iu_xray"


def prepare(tmp_path, **flags):
    return prepare_open_i(OpenIConfig(out=tmp_path / "out", size=16, num_workers=1, **flags))


def test_one_key_for_a_film_under_all_names():
    same = (
        "CXR1_1_IM-0001-4001.png",
        "CXR1_IM-0001-4001.jpg",
        "x/1_IM-0001-4001.dcm.png",
        "CXR1_IM-0001-4001",
    )
    assert {film_key(name) for name in same} == {"1_IM-0001-4001"}
    assert film_key("images/CXR1_1_IM-0001/0.png") == "1/0"
    assert film_key("CXR7_IM-2263-0001-0002.png") == "7_IM-2263-0001-0002"
    names = ("CXR12", "12", "CXR12_IM-0132", "CXR12_IM-0132-1001")
    assert {study_number(name) for name in names} == {"12"}


def test_kaggle_layout(tmp_path, kaggle):
    table = prepare(tmp_path, **kaggle).table.set_index("study_id")
    assert table.index.tolist() == ["CXR1", "CXR3", "CXR7", "CXR9"]
    assert table.loc["CXR1", "file_name"] == "images/1_IM-0001-4001.png"
    # PA by the tables of torchxrayvision; of study 7 nobody says more than that it is frontal.
    assert table["view"].tolist()[1:3] == ["PA", "frontal"]
    assert table.loc["CXR3", "Cardiomegaly"] == 1
    assert table.loc["CXR3", "mesh"] == "Cardiomegaly/moderate|Opacity/lung/base/left"
    reasons = reasons_of(tmp_path / "out")
    assert (
        reasons["1_IM-0001-3001"] == reasons["7_IM-2263-0001-0002"] == "left out: view 'L' is not in --views"
    )


def test_kaggle_views_for_the_official_films(tmp_path, official, kaggle):
    without = prepare(tmp_path / "a", **official).table
    table = prepare(tmp_path / "b", **official, projections=kaggle["projections"]).table
    assert "CXR7" not in without["study_id"].tolist()
    assert "CXR7" in table["study_id"].tolist()
    assert len(table) == 4
    laterals = prepare(tmp_path / "c", **official, projections=kaggle["projections"], views=("L",)).table
    assert laterals["file_name"].tolist() == [
        "images/CXR1_1_IM-0001-3001.png",
        "images/CXR7_IM-2263-0001-0002.png",
    ]


def test_r2gen_layout_and_split(tmp_path, r2gen):
    annotation = r2gen / "annotation.json"
    flags = {"split": "r2gen", "split_file": annotation, "images": r2gen / "images"}
    table = prepare(tmp_path, reports=annotation, **flags).table.set_index("study_id")
    assert table["split"].to_dict() == {"CXR1": "train", "CXR3": "validation", "CXR7": "test"}
    assert table["view"].tolist() == ["frontal"] * 3
    assert table.loc["CXR1", "file_name"] == "images/CXR1_1_IM-0001/0.png"
    assert table.loc["CXR7", "report"] == "FINDINGS: Fluid at the right base."


def test_r2gen_films_with_the_archive_s_reports(tmp_path, r2gen, official):
    flags = {"split": "r2gen", "split_file": r2gen / "annotation.json", "images": r2gen / "images"}
    table = prepare(tmp_path, reports=official["reports"], **flags).table.set_index("study_id")
    assert table.loc["CXR3", "report"] == "FINDINGS: Large heart. IMPRESSION: Cardiomegaly."
    assert table["split"].tolist() == ["train", "validation", "test"]
    assert reasons_of(tmp_path / "out")["CXR9"] == "left out: not in --split-file"


def test_a_table_gives_the_split(tmp_path, official):
    rows = [("CXR1_1_IM-0001-4001.jpg", 1, "train"), ("a", 3, "val"), ("b", 7, "")]
    split_file = tmp_path / "films.csv"
    pd.DataFrame(rows, columns=["film", "uid", "r2gen_split"]).to_csv(split_file, index=False)
    flags = {"split": "r2gen", "split_file": split_file, "views": ("PA", "AP", "L", "")}
    table = prepare(tmp_path, **official, **flags).table
    splits = dict(zip(table["study_id"], table["split"], strict=True))
    assert splits == {"CXR1": "train", "CXR3": "validation", "CXR7": "train"}
    assert prepare(tmp_path, **official, **flags).table.equals(table)  # finished: nothing is made again


def test_a_wrong_split_is_named(tmp_path, official):
    with pytest.raises(ValueError, match="--split r2gen and --split-file"):
        prepare(tmp_path, **official, split="r2gen")
    with pytest.raises(ValueError, match="--split r2gen and --split-file"):
        prepare(tmp_path, **official, split_file=tmp_path / "x.csv")
    path = tmp_path / "x.csv"
    for content, named in (
        ("uid\n1\n", "no column r2gen_split"),
        ("uid,r2gen_split\n1,dev\n", "1 of its splits"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=named):
            read_split(path)
    other = tmp_path / "x.json"
    other.write_text('{"train": [{"id": "CXR1_IM-0001"}]}')
    with pytest.raises(ValueError, match="not R2Gen's annotation"):
        read_split(other)
