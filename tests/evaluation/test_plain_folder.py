"""A stranger's output: folders of films and CSVs that know nothing of pairs folders."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data_module.findings import FINDINGS
from evaluation.__main__ import main
from evaluation.inputs.plain_folder import open_folder
from evaluation.inputs.rows import read_captions
from vision_module.classifier import build_classifier, save_classifier
from vision_module.config import ResNetSize

TEXTS = ["Cardiomegaly.", "There is a small left pleural effusion.", "Clear lungs.", "Right pneumothorax."]


@pytest.fixture
def films(tmp_path):
    """24 PNGs in two levels of folders, and a CSV of prompts by file name."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(24):
        path = tmp_path / "films" / f"part{number % 2}" / f"x{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(path)
        names.append(path.name)
    (tmp_path / "films/notes.txt").write_text("no film")
    table = pd.DataFrame({"file_name": names, "prompt": [TEXTS[n % 4] for n in range(24)]})
    table.to_csv(tmp_path / "captions.csv", index=False)
    return tmp_path


def test_films_and_captions_become_rows(films):
    folder = open_folder(films / "films", "--synthetic", "test", films / "captions.csv")
    assert len(folder.split("test")) == 24
    assert folder.table["patient_id"].is_unique
    row = folder.table[folder.table["file_name"] == "part1/x1.png"].iloc[0]
    assert row["prompt"] == TEXTS[1]
    assert row["Pleural Effusion"] == 1.0
    assert np.isnan(folder.labels[:, FINDINGS.index("Fracture")]).all()


def test_one_command_scores_a_strangers_films(films):
    """PNGs plus a two-column CSV against plain real films, with a transformers backbone for features."""
    from transformers import CLIPImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(**tiny, image_size=28, patch_size=14)).save_pretrained(films / "dino")
    CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
        films / "dino"
    )
    (films / "films/part0/x0.png").write_bytes(b"broken")
    before = sorted((films / "films").rglob("*"))
    flags = ["--real", str(films / "films"), "--synthetic", str(films / "films")]
    flags += ["--features", str(films / "dino")]
    flags += ["--captions", str(films / "captions.csv"), "--out", str(films / "out"), "--num-bootstrap", "20"]
    main(["all", *flags])
    results = json.loads((films / "out/results.json").read_text())
    assert results["films"]["num_synthetic"] == 24
    assert list(results["films"]["unreadable_synthetic"]) == ["part0/x0.png"]
    assert results["films"]["auroc_mean"] is None  # no classifier was given
    assert results["films"]["fid"] >= 0.0
    for section in ("reports", "pairs", "privacy"):
        assert "Not scored" in results[section]["note"]
    assert sorted((films / "films").rglob("*")) == before  # nothing is written there
    with pytest.raises(ValueError, match="needs rows of split 'train'"):
        main(["privacy", *flags])
    with pytest.raises(ValueError, match="holds no reports"):
        main(["pairs", *flags])


def test_films_without_a_text_are_unknown_and_not_negative(films, capsys):
    """Half of the captions are lost: the other films alone are scored. A name may hold another folder."""
    table = pd.read_csv(films / "captions.csv")
    table["file_name"] = "elsewhere/" + table["file_name"]
    table.rename(columns={"file_name": "Image Path"}).head(12).to_csv(films / "half.csv", index=False)
    pd.DataFrame({"Image Path": ["gone.png"], "prompt": ["Edema."]}).to_csv(
        films / "half.csv", mode="a", header=False, index=False
    )
    torch.manual_seed(0)
    save_classifier(build_classifier(ResNetSize(8, (8, 12), (1, 1))).eval(), films / "classifier", 32, {})
    flags = ["--real", str(films / "films"), "--synthetic", str(films / "films")]
    flags += ["--captions", str(films / "half.csv"), "--classifier", str(films / "classifier")]
    main(["images", *flags, "--out", str(films / "out"), "--num-bootstrap", "20"])
    printed = capsys.readouterr()
    assert "1 rows name no film, such as 'gone.png'" in printed.err
    assert "12 synthetic films have no text or finding" in printed.out
    result = json.loads((films / "out/results.json").read_text())["films"]
    assert result["num_unlabelled_synthetic"] == 12
    # 3 of the 12 known films were asked for Cardiomegaly; the 12 unknown ones are no negatives.
    assert "one class only (0 positive, 12 negative)" in result["auroc_skipped"]["Fracture"]


def test_reports_against_reports_as_two_csvs(tmp_path):
    for name, texts in (("real", TEXTS), ("made", [TEXTS[0], "No effusion.", *TEXTS[2:]])):
        table = pd.DataFrame({"study_id": ["a", "b", "c", "d"], "report": texts})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    flags = ["--real", str(tmp_path / "real.csv"), "--reports", str(tmp_path / "made.csv")]
    main(["reports", *flags, "--out", str(tmp_path / "out"), "--num-bootstrap", "20"])
    reports = json.loads((tmp_path / "out/results.json").read_text())["reports"]
    assert reports["num_scored"] == 4
    # Cardiomegaly, No Finding, Pneumothorax found; Effusion missed, and a No Finding too many.
    assert reports["micro_f1_14"] == pytest.approx(2 * 3 / (4 + 4))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("file_name", "report"), ("a", "", "b")),
        (("image", "caption"), ("a", "b", "")),
        (("Bild", "Befund"), ("a", "", "b")),
        (("uid", "text"), ("a", "", "b")),
    ],
)
def test_columns_are_known_by_name_or_by_place(tmp_path, columns, expected):
    pd.DataFrame([["a", "b"]], columns=columns).to_csv(tmp_path / "x.csv", index=False)
    row = read_captions(tmp_path / "x.csv").iloc[0]
    assert (row["file_name"], row["prompt"], row["report"]) == expected


def test_what_cannot_be_read_is_named(films):
    with pytest.raises(ValueError, match=r"--real .*nowhere is not a pairs folder"):
        open_folder(films / "nowhere", "--real", "test")
    (films / "empty").mkdir()
    with pytest.raises(ValueError, match="no films either"):
        open_folder(films / "empty", "--real", "test")
    other = films / "other.csv"
    other.write_text("file_name,prompt\ny1.png,Edema\n")
    with pytest.raises(ValueError, match=r"its names are not the films': .*'y1.png' and 'part0/x0.png'"):
        open_folder(films / "films", "--synthetic", "test", other)
    other.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(ValueError, match="needs the columns file_name and report"):
        read_captions(other)
    other.write_text("file_name,prompt\na,1\na,2\n")
    with pytest.raises(ValueError, match="more than one row"):
        read_captions(other)
