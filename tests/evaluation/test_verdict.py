"""The verdict of the report page against figures whose judgment is known."""

import pytest

from evaluation.output.verdict import judge_results, settle


def judged(section, values, intervals):
    found = judge_results({section: {**values, "intervals": intervals}})
    return {one.title: (one.judgment, one.text) for group in found.values() for one in group}


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (1.0, [0.9, 1.1], "good"),
        (1.2, [1.0, 1.5], "good"),
        (1.6, [1.4, 1.9], "between"),
        (2.5, [2.1, 3.0], "weak"),
        (1.5, [1.1, 2.2], "unsaid"),  # it spans both limits
        (1.0, [], "unsaid"),  # nobody knows how certain it is
    ],
)
def test_less_is_better(value, interval, expected):
    assert settle(value, interval, 1.25, 2.0) == expected


@pytest.mark.parametrize(
    ("auroc", "interval", "expected"),
    [(0.95, [0.94, 0.96], "good"), (0.8, [0.78, 0.82], "between"), (0.6, [0.55, 0.65], "weak")],
)
def test_a_share_of_the_way_from_chance_to_real_films(auroc, interval, expected):
    values = {"auroc_mean": auroc, "auroc_mean_real": 0.98}
    judgment, text = judged("films", values, {"auroc_mean": interval})["mean AUROC"]
    assert judgment == expected
    assert f"{(auroc - 0.5) / 0.48:.0%} of the way" in text


def test_a_distance_is_a_multiple_of_that_of_real_films():
    found = judged("films", {"fid": 30.0, "fid_floor": 10.0}, {"fid": [28.0, 33.0]})
    ((judgment, text),) = found.values()
    assert judgment == "weak"
    assert "3.0 times that of other real films, 10.000" in text


def test_reports_are_held_against_the_most_frequent_one():
    values = {"micro_f1_14": 0.5, "baseline": {"micro_f1_14": 0.2}}
    for interval, expected in (([0.4, 0.6], "between"), ([0.1, 0.6], "weak")):
        found = judged("reports", values, {"micro_f1_14": interval})
        assert [judgment for judgment, _ in found.values()] == [expected]


def test_findings_are_named_in_their_groups():
    values = {"Edema": 0.97, "Fracture": 0.8, "Pneumonia": 0.55, "Cardiomegaly": 0.99}
    films = {"auroc_per_finding": values, "auroc_per_finding_real": dict.fromkeys(values, 1.0)}
    films["auroc_num_positive"] = {"Edema": 30, "Fracture": 20, "Pneumonia": 50, "Cardiomegaly": 5}
    found = {one.judgment: one.text for group in judge_results({"films": films}).values() for one in group}
    assert found == {
        "good": "Edema 94%",
        "between": "Fracture 60%",
        "weak": "Pneumonia 10%",
        "unsaid": "Cardiomegaly 98%",
    }


def test_nothing_is_said_of_what_was_not_scored():
    assert judge_results({}) == {}
    assert judge_results({"films": {"auroc_mean": 0.9}}) == {}, "nothing to hold it against"
