import numpy as np
import pandas as pd
import pytest

from data_module.findings import (
    FINDINGS,
    FIVE_FINDINGS,
    as_binary,
    check_labels,
    label_array,
    prompt_sentence,
)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({}, "A chest X ray image"),
        ({"Edema": 1}, "A chest X ray image with edema"),
        ({"Edema": 1, "Fracture": float("nan")}, "A chest X ray image with edema"),
        (
            {"Pleural Effusion": 1, "Cardiomegaly": 1, "Edema": 1},
            "A chest X ray image with cardiomegaly, edema and pleural effusion",
        ),
        (
            {"Edema": 1, "Fracture": 1, "Pneumothorax": 0, "Pneumonia": -1},
            "A chest X ray image with edema and fracture, without pneumothorax, and with uncertain pneumonia",
        ),
        ({"Pneumothorax": 0}, "A chest X ray image, without pneumothorax"),
    ],
)
def test_prompt_sentence(labels, sentence):
    assert prompt_sentence(labels) == sentence


def test_fourteen_and_five():
    assert len(FINDINGS) == len(set(FINDINGS)) == 14
    assert set(FIVE_FINDINGS) < set(FINDINGS)


@pytest.mark.parametrize(("labels", "message"), [({"Oedema": 1}, "Oedema"), ({"Edema": 2}, "certainty")])
def test_wrong_labels_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels)


def test_columns_are_taken_by_name():
    shuffled = list(FINDINGS[::-1])
    table = pd.DataFrame([range(14)], columns=shuffled)
    assert label_array(table).tolist() == [list(range(13, -1, -1))]
    assert np.isnan(label_array(table.drop(columns="Edema"))[0, FINDINGS.index("Edema")])


def test_binary_policies():
    codes = np.array([1.0, 0.0, -1.0, np.nan])
    np.testing.assert_array_equal(as_binary(codes), [1, 0, np.nan, 0])
    np.testing.assert_array_equal(as_binary(codes, "positive", "ignore"), [1, 0, 1, np.nan])
    np.testing.assert_array_equal(as_binary(codes, "negative"), [1, 0, 0, 0])
    with pytest.raises(ValueError, match="uncertain='maybe'"):
        as_binary(codes, "maybe")
    with pytest.raises(ValueError, match="blank="):
        as_binary(codes, blank="positive")
