"""results.json: what is read is what was written."""

import json

import pytest

from evaluation.inputs.results import DIGEST, read_results, save_results

RESULTS = {"schema_version": 4, "films": {"fid": 24.6, "note": "ü", "intervals": {"fid": [17.2, None]}}}


def test_what_is_written_is_read(tmp_path):
    save_results(tmp_path / "results.json", RESULTS)
    assert read_results(tmp_path / "results.json") == RESULTS


@pytest.mark.parametrize(
    ("before", "after"), [("24.6", "14.6"), ('"fid": 24', '"fod": 24'), ("17.2", "{}"), ("null", "18.0")]
)
def test_a_change_of_any_value_or_name_is_refused(tmp_path, before, after):
    path = tmp_path / "results.json"
    save_results(path, RESULTS)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ValueError, match=r"results.json is not as it was written .* score the folder again"):
        read_results(path)


def test_another_layout_of_the_same_values_is_the_same(tmp_path):
    path = tmp_path / "results.json"
    save_results(path, RESULTS)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert read_results(path) == RESULTS


def test_results_from_before_the_digest_are_read(tmp_path):
    path = tmp_path / "results.json"
    save_results(path, RESULTS)
    saved = json.loads(path.read_text())
    del saved[DIGEST]
    path.write_text(json.dumps(saved))
    assert read_results(path) == RESULTS


@pytest.mark.parametrize("content", ["{}", '{"again": {}}'])
def test_an_object_without_any_section_is_no_results(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results.json holds no results .* score the folder again"):
        read_results(tmp_path / "results.json")
