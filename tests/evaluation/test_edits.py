"""Scores of edits: the counterfactual itself is perfect, the film left as it was flips nothing."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data_module.demo.counterfactuals import write_counterfactuals
from data_module.findings import FINDINGS
from data_module.images import read_pixels
from data_module.pairs import PairsFolder, write_pairs
from evaluation.__main__ import main
from evaluation.edits.score import measure, open_films

NUM = 24


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return write_counterfactuals(tmp_path_factory.mktemp("exact") / "pairs", NUM, 32, 1, num_workers=1)


@pytest.fixture(scope="module")
def oracle(exact):
    """Decisions of a classifier that knows the labels: 1 where a finding is positive."""
    before = np.zeros((NUM, 14))
    for row, cell in enumerate(exact.table["original_labels"]):
        for name, code in json.loads(cell).items():
            before[row, FINDINGS.index(name)] = code == 1
    return {"original": before, "truth": (exact.labels == 1).astype(float), "reconstruction": before}


def make_edited(exact, root, column):
    """A folder of edits whose films are those of a column of the truth."""
    root.mkdir()
    for name in ("images", "originals"):
        shutil.copytree(exact.root / name, root / name)
    table = exact.table[["file_name", "edited_from", "patient_id", "study_id", "split", "report"]].copy()
    for name, source in zip(table["file_name"], exact.table[column], strict=True):
        shutil.copyfile(exact.root / source, root / name)
    table["reconstruction"] = table["edited_from"]
    write_pairs(root, table.sample(frac=1.0, random_state=0), {}, "# edits")  # in another order
    return root


def figures_of(exact, oracle, root, after):
    films = open_films(root, exact.root)
    order = [exact.table["study_id"].tolist().index(name) for name in films.table["study_id"]]
    decisions = {name: codes[order] for name, codes in {**oracle, "after": oracle[after]}.items()}
    return films, {
        name: (top.sum(), bottom.sum()) for name, (top, bottom) in measure(films, decisions).items()
    }


def test_the_truth_itself_is_perfect(exact, oracle, tmp_path):
    _, figures = figures_of(exact, oracle, make_edited(exact, tmp_path / "a", "file_name"), "truth")
    turned = exact.table["edit"].str.split().str[0].isin(["add", "remove"]).sum()
    assert figures["flipped"] == (turned, turned)
    assert figures["kept"] == (12 * NUM, 12 * NUM)
    assert figures["identity"] == (NUM, NUM)
    assert figures["inside"][0] == figures["outside"][0] == 0


def test_the_film_left_as_it_was_flips_nothing(exact, oracle, tmp_path):
    films, figures = figures_of(exact, oracle, make_edited(exact, tmp_path / "a", "edited_from"), "original")
    assert figures["flipped"][0] == 0
    assert figures["flipped"][1] > 0
    assert figures["outside"][0] == 0  # outside the region, the truth is the original
    assert figures["inside"] == figures["inside_unedited"]
    by_hand = sum(
        np.abs(film.astype(int) - truth)[mask].sum()
        for film, truth, mask in zip(films.original, films.truth, films.region, strict=True)
    )
    assert figures["inside"] == (by_hand, films.region.sum())


def test_a_film_of_another_patient_is_not_its_own(exact, oracle, tmp_path):
    root = make_edited(exact, tmp_path / "a", "file_name")
    first, second = exact.table["file_name"][:2]
    (root / first).write_bytes((root / second).read_bytes())
    _, figures = figures_of(exact, oracle, root, "truth")
    assert figures["identity"] == (NUM - 1, NUM)
    assert figures["outside"][0] > 0


def test_errors_are_counted_on_their_side_of_the_mask(exact, oracle, tmp_path):
    """Five gray levels added to one pixel of each side of the first film's mask."""
    root = make_edited(exact, tmp_path / "a", "file_name")
    row = exact.table.iloc[0]
    film, mask = read_pixels(root / row["file_name"]).copy(), read_pixels(exact.root / row["mask"]) > 0
    for side in (mask, ~mask):
        place = tuple(np.argwhere(side & (film < 250))[0])
        film[place] += 5
    Image.fromarray(film).save(root / row["file_name"])
    _, figures = figures_of(exact, oracle, root, "truth")
    assert (figures["inside"][0], figures["outside"][0]) == (5, 5)


def test_the_command_writes_table_figures_and_sheet(chain, exact, tmp_path, capsys):
    edited = make_edited(exact, tmp_path / "a", "file_name")
    flags = ["--edited", str(edited), "--truth", str(exact.root), "--classifier", chain.run("classifier")]
    main(["edits", *flags, "--out", str(tmp_path / "out"), "--num-bootstrap", "50"])
    assert "outside_ratio" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "edits.json").read_text())
    everything = record["groups"]["all"]
    assert record["num_films"] == everything["num_films"] == NUM
    assert everything["kept"]["value"] == everything["identity"]["value"] == 1.0
    assert everything["kept"]["interval"] == [1.0, 1.0]
    assert everything["outside_ratio"]["value"] is None  # the reconstructions have no error
    assert sum(group["num_films"] for name, group in record["groups"].items() if name != "all") == NUM
    assert (tmp_path / "out" / "edits.png").is_file()


def test_folders_that_do_not_belong_together_are_refused(exact, tmp_path):
    edited = make_edited(exact, tmp_path / "a", "file_name")
    table = PairsFolder.open(edited).table
    for match, change in (
        ("--edited .* 1 of 24", table.assign(study_id=["other", *table["study_id"][1:]])),
        ("--edited .*study_id stands", table.assign(study_id="same")),
        ("--edited .*column edited_from", table.drop(columns="edited_from")),
    ):
        write_pairs(edited, change, {}, "# edits")
        with pytest.raises(ValueError, match=match):
            open_films(edited, exact.root)
    write_pairs(edited, table, {}, "# edits")
    with pytest.raises(ValueError, match=r"--truth .*column mask"):
        open_films(edited, edited)
