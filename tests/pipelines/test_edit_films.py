"""edit_films.py over a tiny trained chain: what it writes, what it keeps, and what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image

import edit_films
from data_module.demo.counterfactuals import write_counterfactuals
from data_module.findings import FINDINGS
from data_module.images import read_pixels
from data_module.labeler.consistency import find_self_denials
from data_module.pairs import PairsFolder
from pipelines import film_editor
from pipelines.config import EditConfig, SamplerConfig
from pipelines.edit_plan import open_edits
from pipelines.film_editor import FilmEditor, PlannedEdit
from vision_module.editing_config import EditingConfig

TINY = ("--num-inference-steps", "4", "--mixed-precision", "no")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return write_counterfactuals(tmp_path_factory.mktemp("exact") / "pairs", 5, 64, 1, num_workers=1)


@pytest.fixture
def run(chain):
    def edit(out, *flags):
        models = [
            part
            for name, run in (("vision", "uvit"), ("language", "bart"), ("prior", "prior"))
            for part in (f"--{name}", chain.run(run))
        ]
        edit_films.main([*models, *TINY, "--out", str(out), *map(str, flags)])
        return PairsFolder.open(out)

    return edit


def film(pairs, row=0, column="file_name"):
    return read_pixels(pairs.root / pairs.table[column][row])


def test_one_film_becomes_a_row_with_both_reports(run, exact, tmp_path):
    path = exact.root / exact.table["edited_from"][0]
    pairs = run(
        *(tmp_path / "out", "--film", path, "--from", "No acute disease.", "--to", "Severe cardiomegaly."),
        # What a model of two steps says may not be put together.
        *("--min-new-tokens", "4", "--num-candidates", "1", "--no-assemble"),
    )
    (row,) = pairs.table.to_dict("records")
    assert (film(pairs, column="edited_from") == read_pixels(path)).all()
    assert row["Cardiomegaly"] == 1
    assert row["original_report"]
    assert (row["original_text"], row["edited_text"]) == ("No acute disease.", "Severe cardiomegaly.")
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


def test_the_same_text_gives_back_what_the_autoencoder_gives(run, exact, tmp_path):
    path = exact.root / exact.table["edited_from"][0]
    flags = ("--film", path, "--from", "Mild edema.", "--films-only")
    same = run(tmp_path / "same", *flags, "--to", "Mild edema.")
    difference = film(same).astype(int) - film(same, column="reconstruction")
    assert np.abs(difference).max() <= 1  # a value may lie where rounding turns
    assert same.table["report"][0] == ""


@pytest.fixture(scope="module")
def moved(chain):
    """An editor whose denoiser minds its texts, which two steps of training do not teach it."""
    models = SamplerConfig(vision=chain.run("uvit"), films_only=True)
    editor = FilmEditor(models, EditingConfig(4, 1.0, 1000.0, "no"), 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in editor.vision.denoiser.parameters():
            weights += 0.1 * torch.randn_like(weights)
    return editor


def test_outside_a_mask_the_film_is_what_the_autoencoder_gives(moved, exact):
    """The autoencoder sees further than a cell, so the film's other end is looked at."""
    film = read_pixels(exact.root / exact.table["edited_from"][0])
    mask = np.zeros((64, 64), bool)
    mask[:16, :16] = True
    plan = [PlannedEdit(film, "No acute disease.", "Severe edema.", mask)]
    edited = moved.edit([0], plan)
    difference = np.abs(edited.films[0].astype(int) - edited.reconstructions[0])
    assert difference[:16, :16].mean() > 10 * difference[-16:, -16:].mean()
    free = moved.edit([0], [PlannedEdit(film, "No acute disease.", "Severe edema.")])
    assert np.abs(free.films[0].astype(int) - free.reconstructions[0])[-16:, -16:].mean() > 1


def test_box_and_mask_mean_the_same_pixels(exact, tmp_path):
    path = exact.root / exact.table["edited_from"][0]
    mask = np.zeros((64, 64), np.uint8)
    mask[8:20, 4:16] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    ways = (
        EditConfig(film=path, after="Edema.", box=(4, 8, 16, 20)),
        EditConfig(film=path, after="Edema.", mask=tmp_path / "mask.png"),
    )
    for way in ways:
        (edit,) = open_edits(way)(64)
        assert (edit.mask == (mask > 0)).all()
        (small,) = open_edits(way)(32)
        assert small.mask is not None
        assert (small.mask == (mask[::2, ::2] > 0)).all()


def test_counterfactuals_are_edited_row_by_row_whatever_the_batch(run, exact, tmp_path, capsys):
    flags = ("--pairs", exact.root, "--use-masks")
    pairs = run(tmp_path / "all", *flags, "--batch-size", "5")
    assert pairs.table["study_id"].tolist() == exact.table["study_id"].tolist()
    assert pairs.table["edit"].tolist() == exact.table["edit"].tolist()
    assert np.array_equal(pairs.labels, exact.labels, equal_nan=True)
    assert pairs.table["original_report"].tolist() == exact.table["original_report"].tolist()
    few = run(tmp_path / "few", *flags, "--batch-size", "2", "--num-pairs", "3")
    for row in range(3):
        assert np.abs(film(few, row).astype(int) - film(pairs, row)).max() <= 1
    run(tmp_path / "few", *flags, "--batch-size", "2", "--num-pairs", "3")
    assert "already done" in capsys.readouterr().out


def _refused(run, tmp_path, match, *flags):
    with pytest.raises(ValueError, match=match):
        run(tmp_path / "refused", *flags)
    assert not (tmp_path / "refused" / "metadata.csv").exists()


def test_what_cannot_be_edited_is_refused_by_the_name_of_its_flag(run, chain, exact, tmp_path):
    path = exact.root / exact.table["edited_from"][0]
    to = ("--to", "Mild edema.")
    (tmp_path / "text.png").write_text("no film")
    Image.new("L", (32, 64), 255).save(tmp_path / "small.png")
    Image.new("L", (64, 64), 0).save(tmp_path / "black.png")
    for match, flags in (
        ("--film .*text.png", ("--film", tmp_path / "text.png", *to)),
        ("--film .*none.png", ("--film", tmp_path / "none.png", *to)),
        ("--film .*text.png", ("--film", tmp_path / "text.png", *to, "--vision", tmp_path / "no-model")),
        (
            "--mask .*32 x 64 pixels, the film 64 x 64",
            ("--film", path, *to, "--mask", tmp_path / "small.png"),
        ),
        ("--film .*black.png: blank, every pixel is 0", ("--film", tmp_path / "black.png", *to)),
        ("--mask .*black", ("--film", path, *to, "--mask", tmp_path / "black.png")),
        ("--mask .*text.png", ("--film", path, *to, "--mask", tmp_path / "text.png")),
        ("--box 0 0 65 10", ("--film", path, *to, "--box", "0", "0", "65", "10")),
        ("--box 9 0 9 10", ("--film", path, *to, "--box", "9", "0", "9", "10")),
        ("--to: .*Pleural Effusion", ("--film", path, "--to", "Large effusion. No pleural effusion.")),
        ("--from: .*Edema", ("--film", path, *to, "--from", "Edema. There is no edema.")),
        ("--film with --to, or --pairs", ()),
        ("--pairs .*edited_from", ("--pairs", chain.run("data"))),
    ):
        _refused(run, tmp_path, match, *flags)


@pytest.mark.parametrize(
    ("message", "flags"),
    [
        ("--to: say", ("--film", "a.png")),
        ("not both", ("--film", "a.png", "--to", "Edema.", "--pairs", "b")),
        ("not both", ("--film", "a.png", "--to", "Edema.", "--mask", "b", "--box", "0", "0", "1", "1")),
        ("are for --film", ("--pairs", "a", "--to", "Edema.")),
        ("--use-masks is for --pairs", ("--film", "a.png", "--to", "Edema.", "--use-masks")),
        ("--num-pairs -1", ("--pairs", "a", "--num-pairs", "-1")),
        ("--strength 0", ("--pairs", "a", "--strength", "0")),
        ("--num-inference-steps 0", ("--pairs", "a", "--num-inference-steps", "0")),
        ("--batch-size 0", ("--pairs", "a", "--batch-size", "0")),
    ],
)
def test_flags_that_do_not_go_together_are_refused_at_once(message, flags, capsys):
    with pytest.raises(SystemExit) as stop:
        edit_films.main(list(flags))
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_what_the_autoencoder_does_not_know_is_warned_of(run, exact, tmp_path, capsys, monkeypatch):
    """Noise is no film; of the chain's few steps of training nothing is known, so the limit is moved."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    flags = ("--to", "Mild edema.", "--films-only")
    run(tmp_path / "noise", "--film", tmp_path / "noise.png", *flags)
    assert "noise.png: the autoencoder gives back" in capsys.readouterr().err
    monkeypatch.setattr(film_editor, "LEAST_KNOWN", -100.0)
    run(tmp_path / "film", "--film", exact.root / exact.table["edited_from"][0], *flags)
    assert "the autoencoder" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("Large right effusion. No pleural effusion.", ["Pleural Effusion"]),
        ("A chest X ray image with edema, without edema", ["Edema"]),
        ("Cardiomegaly. Edema. No edema. Heart size is normal.", ["Cardiomegaly", "Edema"]),
        ("Large right effusion. No left effusion.", []),
        ("Large left effusion, no effusion on the right", []),
        ("Small left effusion. No large effusion.", []),
        ("Right apical scarring, lungs otherwise clear.", []),
        ("Vascular congestion without overt edema.", []),
        ("Calcified granuloma of the right lung. No other nodule.", []),
        ("Cardiac silhouette is enlarged. Heart size is normal.", ["Cardiomegaly"]),
        ("Small left effusion, no left effusions", ["Pleural Effusion"]),
        ("No pneumothorax. Moderate edema.", []),
        ("No acute cardiopulmonary disease.", []),
        ("", []),
    ],
)
def test_a_text_that_denies_what_it_asserts_is_found(text, denied):
    assert find_self_denials(text) == denied
    assert set(denied) <= set(FINDINGS)
