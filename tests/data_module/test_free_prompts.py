"""Prompts in many wordings, and what is read off them: nothing that the row does not tell."""

import numpy as np
import pandas as pd
import pytest

from data_module.config import PlanConfig
from data_module.controls import CONTROLS, UNSAID, read_controls, table_controls
from data_module.demo.source import film_row, generate_studies, write_demo
from data_module.findings import FINDINGS, NEGATIVE, label_array
from data_module.free_prompts import write_free_prompts
from data_module.labeler import label_reports
from data_module.labeler.attributes import read_attributes
from data_module.pairs import PairsFolder
from data_module.sampling_plan import SamplingPlan
from data_module.text_columns import text_column


@pytest.fixture(scope="module")
def rows():
    return pd.DataFrame([film_row(film) for film in generate_studies(600, size=32, seed=5)])


@pytest.mark.parametrize("column", ["free_prompt", "free_prompt_2"])
def test_a_free_prompt_says_what_its_row_tells(rows, column):
    """The labeler finds the row's findings in it, and no side, grade, sex, age or view is another's."""
    prompts = write_free_prompts(rows, column)
    asked = np.where(label_array(rows) == NEGATIVE, np.nan, label_array(rows))
    read = np.where(label_reports(prompts) == NEGATIVE, np.nan, label_reports(prompts))
    # A film without findings but a device is "support devices" alone.
    read[:, 0] = asked[:, 0]
    said = np.array([bool(prompt) for prompt in prompts])
    assert said.mean() > 0.95
    np.testing.assert_array_equal(read[said], asked[said])
    controls, truth = read_controls(prompts), table_controls(rows)
    stated = controls != UNSAID
    np.testing.assert_allclose(controls[stated], truth[stated], atol=1e-6)
    # Each kind is said often: of the sides known two thirds at least.
    known = truth[:, :-3] != UNSAID
    assert (stated[:, :-3] & known).sum() > 0.65 * known.sum()
    assert all(200 < stated[:, place].sum() < 500 for place in (-3, -2, -1))


def test_free_prompts_differ_in_wording_and_not_from_run_to_run(rows):
    first, again, other = (
        write_free_prompts(rows, name) for name in ("free_prompt", "free_prompt", "free_prompt_2")
    )
    assert first == again
    assert np.mean([a != b for a, b in zip(first, other, strict=True)]) > 0.8
    assert len(set(first)) > 500
    ends = [prompt.endswith(".") for prompt in first if prompt]
    assert 0.4 < np.mean(ends) < 0.6  # with and without a full stop
    assert 0.1 < np.mean([prompt[0].islower() for prompt in first if prompt]) < 0.6


def test_a_row_of_labels_alone_still_has_a_prompt():
    table = pd.DataFrame({"report": ["", ""], "Edema": [1.0, np.nan], "No Finding": [np.nan, np.nan]})
    edema, nothing = write_free_prompts(table, "free_prompt")
    assert "edema" in edema.lower()
    assert nothing == ""


def _said(text):
    row = read_controls([text])[0]
    return {name: float(value) for name, value in zip(CONTROLS, row, strict=True) if value != UNSAID}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("58-year-old woman, AP view", {"male": 0, "AP view": 1, "age / 100": 0.58}),
        ("PA chest X-ray of a man of 71", {"male": 1, "AP view": 0, "age / 100": 0.71}),
        ("AP and PA views of a man and a woman", {}),
        ("Film of a patient, 40 years, who was 39 years old", {}),
        ("female aged 33, portable film", {"male": 0, "AP view": 1, "age / 100": 0.33}),
        ("a wide mediastinum", {}),
        ("edema, ap view", {"AP view": 1}),
        ("pa chest x-ray with edema", {"AP view": 0}),
        ("SUPINE CHEST", {"AP view": 1}),
        ("Edema, anteroposterior view", {"AP view": 1}),
        ("Postero-anterior film", {"AP view": 0}),
        ("58F with edema", {"male": 0, "age / 100": 0.58}),
        ("72 M, edema", {"male": 1, "age / 100": 0.72}),
        ("14F chest tube, 12 F pigtail catheter", {}),
        ("Fever of 102F", {}),
        ("58 y.o. woman", {"male": 0, "age / 100": 0.58}),
        ("Fullness of the AP window, increased AP diameter", {}),
        ("PA catheter; the main PA is enlarged", {}),
        ("A nodule of 5 mm, 5 m away", {}),
    ],
)
def test_sex_view_and_age_of_a_text(text, expected):
    assert _said(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Big right-sided pleural effusion", {"Pleural Effusion": ("right", "large")}),
        (
            "large left effusion, mild cardiomegaly and tiny right pneumothorax",
            {
                "Pleural Effusion": ("left", "large"),
                "Cardiomegaly": (None, "mild"),
                "Pneumothorax": ("right", "small"),
            },
        ),
        (
            "effusion, large, on both sides, cardiomegaly, slight",
            {"Pleural Effusion": ("bilateral", "large"), "Cardiomegaly": (None, "mild")},
        ),
        ("right and left pleural effusions, small", {"Pleural Effusion": ("bilateral", "small")}),
        ("Patchy opacities in the left lung, consistent with pneumonia.", {"Pneumonia": ("left", None)}),
        (
            "cardiomegaly with a large left effusion",
            {"Cardiomegaly": (None, None), "Pleural Effusion": ("left", "large")},
        ),
        (
            "small effusion on the left, no pneumothorax, severe edema",
            {"Pleural Effusion": ("left", "small")},
        ),
        ("marked edema and possible left fracture", {"Edema": (None, "severe")}),
    ],
)
def test_sides_and_grades_in_a_list(text, expected):
    found = {name: (said.get("side"), said.get("severity")) for name, said in read_attributes(text).items()}
    assert found == expected


def test_any_text_column_can_be_drawn(tmp_path):
    write_demo(tmp_path / "data", num_studies=60, size=32, num_workers=1)
    test = PairsFolder.open(tmp_path / "data").split("test")
    for column in ("impression_section", "free_prompt"):
        config = PlanConfig(
            data=tmp_path / "data", prompt_column=column, prompt_order="table", no_reference=True
        )
        plan = SamplingPlan(config, seed=0)
        wanted = text_column(test, column)
        assert [plan[item].prompt for item in range(len(test)) if wanted[item]] == [
            text for text in wanted if text
        ]
        np.testing.assert_array_equal(plan.labels, test.labels)
    config = PlanConfig(data=tmp_path / "data", prompt_column="wish", no_reference=True)
    with pytest.raises(ValueError, match=r"--prompt-column wish: .* has no such column"):
        SamplingPlan(config, seed=0)


def test_every_finding_has_a_name_in_free_prompts():
    for name in FINDINGS:
        table = pd.DataFrame({"report": [""], name: [1.0]})
        (prompt,) = write_free_prompts(table, "free_prompt")
        assert label_reports([prompt])[0][FINDINGS.index(name)] == 1.0, prompt
