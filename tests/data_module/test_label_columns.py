"""Labels, sex and age of strangers' tables: known in any spelling, or told of, and never turned round."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_module.findings import FINDINGS, prompt_sentence
from data_module.labeler import label_reports
from data_module.pairs import PairsFolder, write_pairs
from data_module.sources.config import TableConfig
from data_module.sources.label_map import LabelMap
from data_module.sources.patient_fields import SexColumn, read_age
from data_module.sources.table import prepare_table


def prepare(folder, rows, **options):
    """Films, a table of `rows` (image and patient_id are added), and the pairs folder made of them."""
    (folder / "films").mkdir(parents=True)
    rows = [{"image": f"{n}.png", "patient_id": f"p{n}", **row} for n, row in enumerate(rows)]
    for number, row in enumerate(rows):
        pixels = np.random.default_rng(number).integers(256, size=(16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "films" / row["image"])
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    flags = {"table": folder / "t.csv", "images": folder / "films", "out": folder / "out"}
    pairs = prepare_table(
        TableConfig(**flags, size=16, num_workers=1, **options), options.pop("labeler", None)
    )
    return pairs.table, json.loads((folder / "out" / "provenance.json").read_text())


def test_columns_of_labels_in_any_spelling(tmp_path):
    row = {
        "Pleural effusion": 1,
        "Airspace Opacity": 1,
        "PNEUMOTHORAX": 0,
        "oedema": 0,
        "heart_enlargement": -1,
    }
    table, record = prepare(tmp_path, [row])
    found = {name: code for name, code in table.loc[0, list(FINDINGS)].items() if code == code}
    assert found == {
        "Pleural Effusion": 1,
        "Lung Opacity": 1,
        "Pneumothorax": 0,
        "Edema": 0,
        "Cardiomegaly": -1,
    }
    assert set(record["label_columns"]) == set(row)
    said = label_reports([table.loc[0, "report"]])[0]
    assert {name: code for name, code in zip(FINDINGS, said, strict=True) if code == code} == found


def test_what_the_table_does_not_have_is_not_denied(tmp_path):
    """A mass that is absent denies no lesion, and a nodule beside it is one."""
    rows = [{"Mass": 0, "Nodule": "", "Edema": 0}, {"Mass": 0, "Nodule": 1, "Edema": 0}]
    table, _ = prepare(tmp_path, rows)
    assert np.isnan(table.loc[0, "Lung Lesion"])
    assert "lesion" not in table.loc[0, "report"]
    assert table.loc[1, "Lung Lesion"] == 1
    assert "a lung nodule" in table.loc[1, "report"]


@pytest.mark.parametrize("name", ["Goitre", "Scoliosis?", "free air"])
def test_an_unknown_column_of_labels_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=r"hold nothing but 1, 0 and -1.*--label-map") as error:
        prepare(tmp_path / "a", [{"Edema": 0, name: 1}, {"Edema": 1, name: ""}])
    assert repr(name) in str(error.value)
    (tmp_path / "map.json").write_text(json.dumps({name: "Fracture"}))
    table, _ = prepare(tmp_path / "b", [{"Edema": 0, name: 0}], label_map=tmp_path / "map.json")
    assert table.loc[0, "Fracture"] == 0  # "label": "Finding" says that both are one
    (tmp_path / "map.json").write_text(json.dumps({name: {"Fracture": 1}}))
    table, _ = prepare(tmp_path / "c", [{"Edema": 0, name: 0}], label_map=tmp_path / "map.json")
    assert np.isnan(table.loc[0, "Fracture"])


def test_columns_of_numbers_that_are_no_labels(tmp_path):
    row = {"Edema": 1, "row_id": 1, "Unnamed: 0": 0, "fold": 1, "is_frontal": 1, "Follow-up #": 0, "age": 1}
    assert len(prepare(tmp_path, [row, {**row, "age": 0}])[0]) == 2


def test_two_columns_of_one_label(tmp_path):
    with pytest.raises(ValueError, match="two columns are a 'edema'"):
        prepare(tmp_path, [{"Edema": 1, "edema": 0}])


def test_no_finding_beside_a_finding(tmp_path):
    rows = [
        {"No Finding": 1, "Cardiomegaly": 1, "Pleural Effusion": 1},
        {"No Finding": 1, "Cardiomegaly": 0, "Pleural Effusion": ""},
        {"No Finding": 1, "Cardiomegaly": "", "Pleural Effusion": -1},
    ]
    table, record = prepare(tmp_path, rows)
    assert table["No Finding"].isna().tolist() == [True, False, True]
    assert table.loc[0, "prompt"] == "A chest X ray image with cardiomegaly and pleural effusion"
    assert record["no_finding_contradicted"] == 2


def test_a_prompt_never_says_no_finding_beside_a_finding():
    assert "no finding" not in prompt_sentence({"No Finding": 1, "Edema": 1})
    assert "no finding" not in prompt_sentence({"No Finding": 1, "Edema": -1})
    assert "no finding" in prompt_sentence({"No Finding": 1, "Edema": 0, "Support Devices": 1})


def test_findings_of_a_pairs_table_in_any_spelling(tmp_path):
    row = {"file_name": "", "report": "A.", "patient_id": "1", "split": "train", "pleural_effusion": 1}
    pairs = write_pairs(tmp_path, [row], {}, "")
    assert pairs.labels[0, FINDINGS.index("Pleural Effusion")] == 1
    with pytest.raises(ValueError, match="two columns are a 'Edema'"):
        write_pairs(tmp_path / "b", [{**row, "Edema": 1, "edema": 0}], {}, "")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"x": ["Edema", ["Fracture"]]}, "give a finding, a list"),
        ({"x": [["Edema"]]}, "give a finding, a list"),
        ({"x": {"Edema": [1]}}, "give a finding, a list"),
        ({"x": {"Edema": True}}, "give a finding, a list"),
        ({"x": [1]}, "give a finding, a list"),
        ({"x": {"Edema": 2}}, "not a certainty"),
        ({"Goitre": "Edema", "goitre": "Fracture"}, "'goitre' stands in it twice"),
        ([["x", "Edema"]], "JSON object"),
    ],
)
def test_label_maps_of_other_shapes(tmp_path, entries, message):
    (tmp_path / "map.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message):
        LabelMap(tmp_path / "map.json")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["M", "F", ""], "MF-"),
        (["male", "FEMALE", "Woman", "man "], "MFFM"),
        (["Missing", "mask", "unknown", "X", "1", "other"], "------"),
        (["Mujer", "Hombre", "Varón", "Femenino"], "FMMF"),
        (["weiblich", "Männlich", "Frau", "MAENNLICH"], "FMFM"),
        (["H", "M", "M", "H"], "MFFM"),  # hombre and mujer
        (["H", "F", "Féminin"], "MFF"),  # homme and femme
        (["M", "V", "vrouw"], "MFF"),
        (["M", "K", "kvinna"], "MFF"),
        (["M", "W", "M"], "MFM"),
        (["男", "女", "Ж", "М"], "MFFM"),
        (["(F)", "m.", "'F'"], "FMF"),
    ],
)
def test_sex_in_any_language(cells, expected):
    column = SexColumn(cells)
    assert "".join(column.read(cell) or "-" for cell in cells) == expected


@pytest.mark.parametrize(
    ("cell", "years"),
    [
        ("63", 63),
        ("63.0", 63),
        ("063Y", 63),
        ("63 years", 63),
        ("63-year-old", 63),
        ("63 yrs.", 63),
        ("63 Jahre", 63),
        ("63,5", 63.5),
        ("90+", 90),
        (">89", 90),
        (">= 90", 90),
        ("over 89", 90),
        ("90 years+", 90),
        ("6 months", 0.5),
        ("006M", 0.5),
        ("26W", 0.5),
        ("1 year 6 months", 1.5),
        ("0", 0),
        ("unknown", None),
        ("60-69", None),
        ("<1", None),
        ("414", None),
        ("-5", None),
        ("1950-01-02", None),
        ("Y", None),
        ("", None),
    ],
)
def test_age_as_tables_write_it(cell, years):
    assert read_age(cell) == years


def test_no_film_is_lost_for_its_age_or_sex(tmp_path):
    rows = [
        {"Edema": 1, "y": age, "s": sex}
        for age, sex in (("90+", "F"), ("unknown", "x"), ("63", ""), ("", "M"))
    ]
    table, record = prepare(tmp_path, rows, age_column="y", sex_column="s")
    assert table["age"].fillna(-1).tolist() == [90, -1, 63, -1]
    assert table["sex"].fillna("").tolist() == ["F", "", "", "M"]
    assert record["unclear"] == {"sex": 1, "age": 1}
    assert PairsFolder.open(tmp_path / "out").table["report"].str.contains("90-year-old woman").tolist()[0]
