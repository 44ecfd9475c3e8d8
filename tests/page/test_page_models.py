"""What the page draws is what the command line draws; what it shows is what labeler and classifier say."""

import shlex
from datetime import datetime

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

import sample_pairs
from data_module.findings import FINDINGS
from data_module.images import load_pixels
from data_module.pairs import PairsFolder
from page import pieces
from page.events import given_film
from page.folders import ANY, Filter, Folders
from page.models import Judged, Wish

PROMPT = "Large right pleural effusion."


@pytest.fixture(scope="module")
def folders(models, config):
    others = [PairsFolder.open(folder) for folder in config.pairs]
    return Folders(models.data, others, models.classifier, models.lock)


@pytest.mark.parametrize("more", [{}, {"reference": None}, {"guidance_scale": 1.0, "num_films": 3}])
def test_the_command_line_that_is_shown_draws_the_same(models, tmp_path, more):
    wish = Wish(PROMPT, **{"num_inference_steps": 3, "seed": 4, "num_films": 2, **more})
    drawing = models.draw(wish)
    flags = shlex.split(drawing.command)[2:]
    sample_pairs.main([*flags, "--mixed-precision", "no", "--out", str(tmp_path / "pairs")])
    made = PairsFolder.open(tmp_path / "pairs")
    films = load_pixels(made.image_paths, models.image_size)
    assert np.array_equal(films, drawing.pixels)
    assert made.table["report"].tolist() == list(drawing.reports)
    assert made.table["reference"].fillna("").tolist() == [pair.reference_name for pair in drawing.plan]


def test_a_saved_drawing_is_a_pairs_folder_for_everybody(models):
    drawing = models.draw(Wish(PROMPT, num_inference_steps=3, seed=9, num_films=2))
    root = models.save(drawing)
    assert models.save(drawing) == root, "the same drawing again"
    saved = PairsFolder.open(root)
    assert np.array_equal(load_pixels(saved.image_paths, models.image_size), drawing.pixels)
    assert saved.table["seed"].tolist() == [9, 9]
    assert set(saved.table["prompt"]) == {PROMPT}
    plain = load_dataset("imagefolder", data_dir=str(root), split="train")
    assert [np.asarray(row["image"]).tolist() for row in plain] == drawing.pixels.tolist()
    other = models.save(models.draw(Wish(PROMPT, num_inference_steps=3, seed=8, num_films=2)))
    assert other != root


def test_two_reference_films_of_ones_own_are_two_folders(models, tmp_path):
    """They count by content: an uploaded file's name is not kept."""
    paths = models.data.image_paths[:2]
    roots = {models.save(models.draw(Wish(PROMPT, num_inference_steps=2, reference=path))) for path in paths}
    assert len(roots) == 2
    for root in roots:
        text = "".join(
            file.read_text() for file in root.rglob("*") if file.suffix in (".csv", ".json", ".md")
        )
        assert not any(path.name in text for path in paths)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": "  "},
        {"guidance_scale": float("nan")},
        {"num_inference_steps": 0},
        {"num_inference_steps": 10**6},
        {"seed": -1},
        {"num_films": 9},
        {"strength": 1.5},
    ],
)
def test_a_wish_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"write a prompt|must be"):
        Wish(**{"prompt": PROMPT, **wrong})


def test_a_prompt_that_denies_what_it_asserts_is_refused(models):
    with pytest.raises(ValueError, match=r"the prompt: .*asserts and denies Edema"):
        models.draw(Wish("Mild edema. No edema."))


def test_previews_come_at_every_step_and_end_in_the_film(models):
    shown = []
    drawing = models.draw(Wish(PROMPT, num_inference_steps=4, num_films=2), shown.append)
    assert [pixels.shape for pixels in shown] == [drawing.pixels.shape] * 4
    assert np.abs(shown[-1].astype(int) - drawing.pixels).mean() < 1.0, "the last estimate is the film"


def test_sentences_are_marked_by_their_findings():
    report = (
        "FINDINGS: The heart is normal in size. Large right pleural effusion. IMPRESSION: Possible edema."
    )
    marked = [(text, [name["text"] for name in names]) for text, names in pieces.mark_sentences(report)]
    assert marked == [
        ("FINDINGS:", []),
        ("The heart is normal in size.", ["no Cardiomegaly"]),
        ("Large right pleural effusion.", ["Pleural Effusion"]),
        ("IMPRESSION:", []),
        ("Possible edema.", ["Edema?"]),
    ]


def test_agreement_is_marked_finding_by_finding():
    asked, seen, read = (np.full((1, 14), np.nan, np.float32) for _ in range(3))
    probabilities = np.full((1, 14), 0.5, np.float32)
    for name, wanted, decided, said in (
        ("Edema", 1, 1, 1),
        ("Fracture", 1, 0, 1),
        ("Pneumonia", 0, 1, 0),
        ("Cardiomegaly", np.nan, 0, -1),
        ("Consolidation", np.nan, np.nan, 1),
        ("Atelectasis", np.nan, 0, np.nan),
    ):
        place = FINDINGS.index(name)
        asked[0, place], seen[0, place], read[0, place] = wanted, decided, said
    rows = pieces.finding_rows(Judged(asked, probabilities, seen, read), 0)
    found = {row["name"]: row["agreement"] for row in rows}
    assert found == {
        "Edema": "agree",
        "Fracture": "differ",
        "Pneumonia": "differ",
        "Cardiomegaly": "open",
        "Consolidation": "open",
    }


def test_rows_are_found_by_side_and_by_agreement(folders, models, config):
    name = str(config.data)
    table = models.data.table
    rows, _ = folders.find(name, Filter(finding="Pleural Effusion", side="left"))
    for row in rows:
        assert table["Pleural Effusion"][row] == 1
        assert "left" in table["report"][row].lower()
    split = {
        kind: set(folders.find(name, Filter(agreement=kind, split="test"))[0])
        for kind in (ANY, "all agree", "some differ")
    }
    assert split["all agree"] | split["some differ"] == split[ANY]
    assert not split["all agree"] & split["some differ"]
    row = min(split["some differ"] or split["all agree"])
    path = models.data.image_paths[row]
    judged = models.judge(load_pixels([path], 64), [table["report"][row]])
    marks = {line["agreement"] for line in pieces.finding_rows(judged, 0)}
    assert ("differ" in marks) == (row in split["some differ"])


def test_a_film_of_the_training_set_is_not_its_own_neighbor(folders, models, config, tmp_path):
    data = folders.get(str(config.data))
    row = int(np.flatnonzero(models.data.table["split"] == "train")[3])
    found = folders.neighbors(data, row)
    assert row not in [place for place, _ in found]
    copy = Folders(models.data, [], models.classifier, models.lock)
    other = PairsFolder(models.data.root, models.data.table.iloc[[row]].reset_index(drop=True))
    copy.open["copy"] = type(data)(other)
    nearest, distance = copy.neighbors(copy.open["copy"], 0)[0]
    assert nearest == row, "the same film elsewhere is a copy"
    assert distance == pytest.approx(0.0, abs=1e-3)


def test_a_blinded_question_hides_nothing_in_its_order(folders, config):
    from page.compare import choose

    names = str(config.data), str(config.pairs[0])
    rng = np.random.default_rng(0)
    questions = [choose(folders, names, rng) for _ in range(40)]
    sides = [question.real_side for question in questions]
    assert 8 < sides.count("left") < 32
    for question in questions:
        real = question.films[0 if question.real_side == "left" else 1]
        path = config.data / question.names[0]
        assert np.array_equal(real, load_pixels([path], len(real))[0])
        assert question.films[0].shape == question.films[1].shape
    with pytest.raises(ValueError, match="one folder"):
        choose(folders, (names[0], names[0]), rng)


def test_votes_are_lines_that_any_table_reads(tmp_path):
    import pandas as pd

    pytest.importorskip("gradio", reason="the page needs gradio")
    from page.compare import COLUMNS, Question, Study, tell_score, write_vote

    film = np.zeros((4, 4), np.uint8)
    names = ('folder, with "quotes"', "=1+1")
    question = Question(names, ("a.png", "b.png"), "right", (film, film), 0.0)
    for said in ("left", "right"):
        write_vote(tmp_path / "deep" / "votes.csv", Study("reader", question), said)
    table = pd.read_csv(tmp_path / "deep" / "votes.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["right"].tolist() == [0, 1]
    assert table["real_folder"][0] == names[0]
    datetime.fromisoformat(table["time"][0])
    assert tell_score(Study("r", None, 50, 100)).startswith("50 of 100 right: 50% (95% interval 40% to 60%)")


def test_what_was_dropped_must_be_a_film(tmp_path):
    """Before any model is asked: nothing dropped, no film, a blank one."""
    (tmp_path / "note.png").write_text("no film")
    Image.new("L", (64, 64), 7).save(tmp_path / "blank.png")
    Image.radial_gradient("L").save(tmp_path / "film.png")
    for upload, message in (
        (None, "drop a reference film first"),
        (f"{tmp_path}/note.png", "a reference film .*note.png: not an image"),
        (f"{tmp_path}/blank.png", "a reference film .*blank.png: blank, every pixel is 7"),
    ):
        with pytest.raises(ValueError, match=message):
            given_film(upload, "a reference film")
    assert given_film(f"{tmp_path}/film.png", "a reference film") == tmp_path / "film.png"
