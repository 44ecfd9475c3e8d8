"""The demo source: a study is the same whatever surrounds it; films show their facts, reports say them."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from data_module.demo.film import render_film
from data_module.demo.phrases import sentence_forms
from data_module.demo.report import MAX_WORDS, write_report
from data_module.demo.source import generate_studies, write_demo
from data_module.demo.study import Patient, Sign, Study, get_study
from data_module.findings import FINDINGS, POSITIVE, label_array
from data_module.images import load_pixels
from data_module.pairs import PairsFolder

NUM_FACTS = 1600


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return [get_study(0, index) for index in range(NUM_FACTS)]


def make_study(*signs: Sign, view: str = "PA", index: int = 3) -> Study:
    patient = Patient("p000000", "M", 50, 0.0, body_seed=5)
    return Study(0, index, patient, 0, 50, view, signs, {sign.finding: POSITIVE for sign in signs})


def test_a_study_does_not_depend_on_where_the_run_starts_or_ends():
    whole = list(generate_studies(12, size=64, seed=3))
    part = list(generate_studies(3, size=64, seed=3, start=8))
    for a, b in zip(whole[8:11], part, strict=True):
        assert a.study == b.study
        assert a.report == b.report
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_another_seed_gives_other_studies():
    assert get_study(0, 5) != get_study(1, 5)


def test_facts_and_report_do_not_depend_on_size():
    for small, large in zip(
        generate_studies(3, size=64, seed=1), generate_studies(3, size=128, seed=1), strict=True
    ):
        assert small.study == large.study
        assert small.report == large.report
        halved = large.pixels.reshape(64, 2, 64, 2).mean(axis=(1, 3))
        assert np.corrcoef(halved.ravel(), small.pixels.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("bad", [{"seed": -1}, {"size": 8}, {"start": -4}])
def test_wrong_numbers_are_refused(bad):
    with pytest.raises(ValueError):
        next(generate_studies(1, **bad))


@pytest.mark.parametrize(
    "sign",
    [
        Sign("Pleural Effusion", "right", "large"),
        Sign("Pneumothorax", "right", "large"),
        Sign("Consolidation", "right", site="upper"),
        Sign("Pneumonia", "right", site="lower"),
        Sign("Lung Opacity", "right", site="middle"),
        Sign("Lung Lesion", "right", site="middle", kind="mass", size_cm=5.0),
        Sign("Pleural Other", "right", kind="thickening"),
        Sign("Pleural Other", "right", kind="plaques"),
        Sign("Fracture", "right", kind="ribs"),
        Sign("Fracture", "right", kind="clavicle"),
        Sign("Atelectasis", "right", "moderate", site="lower"),
        Sign("Support Devices", "right", kind="chest tube"),
    ],
    ids=lambda sign: f"{sign.finding} {sign.kind or ''}",
)
def test_a_right_sided_sign_shows_at_image_left(sign):
    """Radiological convention: the patient's right is at image left."""
    plain = render_film(make_study(), 64).astype(float)
    change = np.abs(render_film(make_study(sign), 64) - plain)
    assert change[:, :32].sum() > 4 * change[:, 32:].sum()
    assert change.max() > 25


def test_effusion_is_bright_and_pneumothorax_dark():
    plain = render_film(make_study(), 64).astype(float)
    fluid = render_film(make_study(Sign("Pleural Effusion", "left", "large")), 64) - plain
    air = render_film(make_study(Sign("Pneumothorax", "left", "large")), 64) - plain
    assert fluid[34:44, 44:52].mean() > 40
    assert air[16:36, 48:54].mean() < -5


@pytest.mark.parametrize("finding", ["Pleural Effusion", "Cardiomegaly", "Edema"])
def test_a_worse_grade_changes_more_of_the_film(finding):
    grades = (
        ("small", "moderate", "large") if finding == "Pleural Effusion" else ("mild", "moderate", "severe")
    )
    side = {"Pleural Effusion": "left", "Edema": "bilateral"}.get(finding)
    plain = render_film(make_study(), 64).astype(float)
    changes = [np.abs(render_film(make_study(Sign(finding, side, g)), 64) - plain).sum() for g in grades]
    assert changes == sorted(changes)


def test_prevalence(studies):
    for finding in FINDINGS:
        share = np.mean([study.labels.get(finding) == POSITIVE for study in studies])
        assert 0.05 <= share <= 0.45, f"{finding}: {share:.3f}"
    normal = np.mean([study.labels.get("No Finding") == POSITIVE for study in studies])
    assert 0.22 <= normal <= 0.33
    codes = label_array(pd.DataFrame([study.labels for study in studies]))
    assert {-1.0, 0.0, 1.0} <= set(np.unique(codes[~np.isnan(codes)]))


def test_no_finding_means_nothing_but_devices(studies):
    for study in studies:
        others = [name for name, code in study.labels.items() if code != 0 and name != "Support Devices"]
        assert (others == ["No Finding"]) == (study.labels.get("No Finding") == POSITIVE)


def test_patients_with_several_studies_keep_their_person(studies):
    persons: dict[str, set] = {}
    ages: dict[str, list[int]] = {}
    visits: dict[str, list[int]] = {}
    for study in studies:
        persons.setdefault(study.patient.patient_id, set()).add(study.patient)
        visits.setdefault(study.patient.patient_id, []).append(study.visit)
        ages.setdefault(study.patient.patient_id, []).append(study.age)
    assert all(age == sorted(age) for age in ages.values())
    assert all(len(person) == 1 for person in persons.values())
    assert all(visit == list(range(len(visit))) for visit in visits.values())
    assert 0.18 < np.mean([len(visit) > 1 for visit in visits.values()]) < 0.32


def test_reports_are_varied_short_and_whole(studies):
    assert len(sentence_forms()) >= 300
    texts = [write_report(study) for study in studies]
    assert len({report.text for report in texts}) > 0.9 * len(texts)
    for report in texts:
        assert not set("{}[]|") & set(report.text)
        assert "  " not in report.text
        assert len(report.text.split()) <= MAX_WORDS
        assert report.findings_section.endswith(".")
        assert report.impression_section.endswith(".")


def test_reports_tell_side_and_severity_of_the_sign(studies):
    for study in studies:
        text = write_report(study).text.lower()
        for sign in study.signs:
            if sign.finding == "Pneumothorax" and sign.certainty == POSITIVE:
                assert re.search(rf"{sign.severity} {sign.side}(-sided)? pneumothorax", text)
            if sign.side == "left" and len({s.side for s in study.signs} - {None}) == 1:
                assert "left" in text
                assert not re.search(r"\bright\b(?! (ventricle|atrium))", text)


def test_a_labeler_reads_the_reports_back(studies):
    labeler = pytest.importorskip("data_module.labeler")
    agree = []
    for study in studies:
        read = labeler.label_report(write_report(study).text)
        truth = [study.labels.get(name, np.nan) for name in FINDINGS]
        agree.append(np.array_equal(truth, [read[name] for name in FINDINGS], equal_nan=True))
    assert np.mean(agree) >= 0.97


def test_write_demo_makes_a_pairs_folder_that_workers_do_not_change(tmp_path):
    alone = write_demo(tmp_path / "one", num_studies=40, seed=2, num_workers=1)
    shared = write_demo(tmp_path / "two", num_studies=40, seed=2, num_workers=2)
    assert alone.table.equals(shared.table)
    np.testing.assert_array_equal(load_pixels(alone.image_paths, 64), load_pixels(shared.image_paths, 64))
    opened = PairsFolder.open(tmp_path / "one")
    assert len(opened) == 40
    assert set(opened.table["source"]) == {"demo"}
    assert opened.table.groupby("patient_id")["split"].nunique().max() == 1
    for facts, row in zip(opened.table["facts"], opened.labels, strict=True):
        mentioned = {name for name, code in zip(FINDINGS, row, strict=True) if code in (1.0, -1.0)}
        assert set(json.loads(facts)) <= mentioned
    assert "not for clinical use" in (tmp_path / "one" / "README.md").read_text()


def test_write_demo_names_the_wrong_argument(tmp_path):
    with pytest.raises(ValueError, match="--num-studies 0: must be 1 or more"):
        write_demo(tmp_path, num_studies=0)
