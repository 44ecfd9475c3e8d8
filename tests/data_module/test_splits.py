import numpy as np
import pytest

from data_module.splits import split_by_patient


def patients(count):
    return [f"p{number}" for number in range(count)]


def test_films_of_a_patient_share_their_split():
    ids = patients(200) * 3
    splits = np.array(split_by_patient(ids, seed=0)).reshape(3, 200)
    assert (splits == splits[0]).all()


def test_adding_and_reordering_rows_moves_nobody():
    before = dict(zip(patients(300), split_by_patient(patients(300), seed=3), strict=True))
    ids = patients(900)[::-1]
    after = dict(zip(ids, split_by_patient(ids, seed=3), strict=True))
    assert all(after[patient] == split for patient, split in before.items())


def test_fractions_hold_in_expectation():
    splits = np.array(split_by_patient(patients(20_000), seed=1, fractions=(0.7, 0.1, 0.2)))
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert abs(np.mean(splits == name) - share) < 5 * np.sqrt(share * (1 - share) / 20_000)


def test_seeds_are_independent():
    first, second = (np.array(split_by_patient(patients(5_000), seed)) for seed in (0, 1))
    assert abs(np.mean(first == second) - (0.8**2 + 2 * 0.1**2)) < 0.04


def test_known_answer_never_changes():
    # Published splits must survive any rewrite of the function.
    ids = ["10000032", "a", "b", "c", "demo-7", "p19"]
    assert split_by_patient(ids, seed=0) == ["train", "train", "validation", "train", "train", "test"]


def test_a_whole_split_can_be_asked_for():
    assert set(split_by_patient(patients(50), seed=0, fractions=(0.0, 0.0, 1.0))) == {"test"}


@pytest.mark.parametrize("fractions", [(0.8, 0.2), (0.8, 0.1, 0.2), (1.1, -0.1, 0.0)])
def test_wrong_fractions_are_named(fractions):
    with pytest.raises(ValueError, match=r"--split-shares .* that sum to 1"):
        split_by_patient(["a"], 0, fractions)


@pytest.mark.parametrize("patient", ["", " ", None, float("nan")])
def test_empty_patient_is_an_error(patient):
    with pytest.raises(ValueError, match="row 1"):
        split_by_patient(["a", patient], 0)
