"""Counterfactuals of the demo: one sign differs and nothing else, in film, labels and report."""

import json

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from data_module.__main__ import main
from data_module.demo.counterfactuals import get_counterfactual, write_counterfactuals
from data_module.demo.film import render_film
from data_module.demo.report import write_report
from data_module.demo.study import get_study
from data_module.findings import FINDINGS
from data_module.images import read_pixels
from data_module.labeler import label_reports
from data_module.labeler.attributes import read_attributes
from data_module.labeler.consistency import find_contradictions
from data_module.pairs import PairsFolder

FOLLOWS = {"Pneumonia": {"Lung Opacity", "No Finding"}}  # what a report says along with a finding


@pytest.fixture(scope="module")
def pairs():
    return [pair for pair in (get_counterfactual(3, index) for index in range(120)) if pair]


@pytest.mark.parametrize("kind", ["add", "remove", "move", "enlarge"])
def test_every_kind_of_edit_is_drawn_of_several_findings(kind, pairs):
    assert len({pair.edit.finding for pair in pairs if pair.edit.kind == kind}) >= 4


def test_before_is_the_study_of_the_demo_itself(pairs):
    for index, pair in enumerate(pairs[:10]):
        study = get_study(3, pair.before.study.index)
        assert pair.before.study == study
        assert index > 9 or (pair.before.pixels == render_film(study, 64)).all()
        assert pair.before.report == write_report(study)


def test_films_differ_within_the_mask_alone_and_where_the_sign_is(pairs):
    for pair in pairs:
        difference = np.abs(pair.before.pixels.astype(int) - pair.after.pixels)
        assert not difference[~pair.mask].any()
        assert (difference[pair.mask] > 0).all()
        assert difference.max() >= 12, pair.edit.words  # the sign can be seen
        assert 0.0 < pair.mask.mean() < 0.6, pair.edit.words
    small = [p for p in pairs if p.edit.finding in ("Lung Lesion", "Fracture") and p.edit.kind != "move"]
    assert small
    for pair in small:  # one side of the film, in pixels that lie together
        columns = np.flatnonzero((pair.mask & binary_dilation(pair.mask)).any(axis=0))
        assert columns[-1] < 40 or columns[0] >= 24, pair.edit.words


def test_labels_differ_in_the_finding_and_what_follows_from_it(pairs):
    for pair in pairs:
        before, after = pair.before.study.labels, pair.after.study.labels
        changed = {name for name in FINDINGS if before.get(name) != after.get(name)}
        finding = pair.edit.finding
        if pair.edit.kind in ("move", "enlarge"):
            assert not changed
            continue
        assert after.get(finding) == (1.0 if pair.edit.kind == "add" else 0.0) or finding == "Lung Opacity"
        assert (before.get(finding) == 1.0) == (pair.edit.kind == "remove")
        assert finding in changed
        assert changed <= {finding, "No Finding"} | FOLLOWS.get(finding, set())


def test_reports_say_what_the_labels_say_and_do_not_contradict_themselves(pairs):
    reports = [pair.after.report.text for pair in pairs]
    read = label_reports(reports)
    for row, pair in enumerate(pairs):
        for place, name in enumerate(FINDINGS):
            expected = pair.after.study.labels.get(name, np.nan)
            assert np.array_equal(read[row, place], expected, equal_nan=True), (pair.edit.words, name)
    assert not find_contradictions(reports).any()


@pytest.mark.parametrize(("kind", "attribute"), [("move", "side"), ("enlarge", "severity")])
def test_reports_tell_the_other_side_or_grade(kind, attribute, pairs):
    chosen = [
        p for p in pairs if p.edit.kind == kind and p.edit.finding in ("Pneumothorax", "Pleural Effusion")
    ]
    assert chosen
    for pair in chosen:
        told = [
            read_attributes(film.report.text)[pair.edit.finding][attribute]
            for film in (pair.before, pair.after)
        ]
        assert None not in told
        assert told[0] != told[1]


def test_the_folder_holds_originals_and_masks_and_workers_change_no_byte(tmp_path):
    alone = write_counterfactuals(tmp_path / "one", 40, 32, 5, num_workers=1)
    write_counterfactuals(tmp_path / "two", 40, 32, 5, num_workers=2)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        if path.name != "provenance.json":
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    again = PairsFolder.open(tmp_path / "one")
    assert len(again) == len(alone) == 40
    for _, row in again.table.head(5).iterrows():
        before, after, mask = (
            read_pixels(again.root / row[key]) for key in ("edited_from", "file_name", "mask")
        )
        assert ((before != after) == (mask == 255)).all()
        assert set(np.unique(mask)) <= {0, 255}
        assert row["edit"].split()[0] in ("add", "remove", "move", "enlarge")
        assert json.loads(row["original_labels"]).keys() <= set(FINDINGS)
        assert row["original_report"] != row["report"]


def test_the_command_goes_on_and_names_a_wrong_flag(tmp_path, capsys):
    command = ["counterfactuals", "--out", str(tmp_path / "a"), "--num-pairs", "2", "--size", "32"]
    main(command)
    main(command)
    assert "already done" in capsys.readouterr().out
    with pytest.raises(ValueError, match="made with"):
        main([*command[:-1], "48"])
    with pytest.raises(ValueError, match="--num-pairs 0"):
        main(["counterfactuals", "--out", str(tmp_path / "b"), "--num-pairs", "0"])
