"""`evaluate`: the command's numbers from paths, folders, arrays, texts, images and Datasets."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.scored_folders import REPORTS, write_scored_folders
from PIL import Image

from data_module.pairs import PairsFolder
from evaluation import evaluate
from evaluation.__main__ import main
from evaluation.images.fid import frechet_distance
from evaluation.reports.overlap import score_text

FEW = {"num_bootstrap": 40, "device": "cpu"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_scored_folders(tmp_path_factory.mktemp("call"))


@pytest.fixture(scope="module")
def written(folders):
    """results.json of the command."""
    flags = ["--real", str(folders / "real"), "--synthetic", str(folders / "synthetic")]
    flags += ["--classifier", str(folders / "run"), "--out", str(folders / "out"), "--num-bootstrap", "40"]
    main(["all", *flags])
    return json.loads((folders / "out/results.json").read_text())


def test_paths_give_the_numbers_of_the_command(folders, written):
    paths = (folders / "real", str(folders / "synthetic"))
    found = evaluate(*paths, classifier=folders / "run", num_bootstrap=40)
    for section in ("films", "reports", "pairs", "privacy"):
        assert found[section] == written[section], section
    assert found["conventions"] == written["conventions"]
    assert not (folders / "synthetic/cache").exists()


def test_reports_that_nobody_names_are_asked_for(folders):
    with pytest.raises(ValueError, match="--synthetic is missing"):
        evaluate(folders / "real", metrics=["micro_f1_14"])


def test_chosen_metrics_have_the_numbers_of_the_command(folders, written):
    real, synthetic = (PairsFolder.open(folders / name) for name in ("real", "synthetic"))
    found = evaluate(real, synthetic, ["kid", "ssim", "micro_f1_14"], classifier=folders / "run", **FEW)
    assert "fid" not in found["films"]
    for key in ("kid", "kid_floor", "ssim", "ssim_real"):
        assert found["films"][key] == written["films"][key]
    assert found["films"]["intervals"]["kid"] == written["films"]["intervals"]["kid"]
    assert found["reports"]["micro_f1_14"] == written["reports"]["micro_f1_14"]
    assert "pairs" not in found


def test_a_dataset_gives_the_numbers_of_its_folder(folders, written):
    datasets = pytest.importorskip("datasets")
    table = PairsFolder.open(folders / "synthetic").table
    columns = {name: table[name].tolist() for name in ("prompt", "report", "patient_id", *REPORTS, "Edema")}
    columns["image"] = [str(folders / "synthetic" / name) for name in table["file_name"]]
    data = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    metrics = ["fid", "auroc_mean", "report_vs_prompt_micro_f1_14"]
    found = evaluate(folders / "real", data, metrics, classifier=folders / "run", **FEW)
    for key in ("fid", "fid_floor", "auroc_mean", "auroc_mean_real"):
        assert found["films"][key] == written["films"][key]
    key = "report_vs_prompt_micro_f1_14"
    assert found["pairs"][key] == written["pairs"][key]
    assert found["films"]["intervals"]["fid"] == written["films"]["intervals"]["fid"]


def test_films_as_arrays_and_as_pictures_are_the_same(folders):
    rng = np.random.default_rng(0)
    sets = [rng.integers(0, 256, (24, 32, 32), dtype=np.uint8) for _ in range(2)]
    pictures = [[Image.fromarray(film) for film in films] for films in sets]
    flags = {"metrics": ["fid", "vendi"], "features": str(folders / "run"), **FEW}
    arrays, same = evaluate(*sets, **flags)["films"], evaluate(*pictures, **flags)["films"]
    assert arrays == same
    assert arrays["num_fidelity"] == 12  # the floor takes half of the real films
    assert arrays["fid"] > 0.0


def test_features_are_scored_as_they_are():
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) + 0.5
    found = evaluate(real, made, **FEW)["films"]
    assert found["fid"] == frechet_distance(made, real)
    assert found["fid_floor"] is None
    low, high = found["intervals"]["fid"]
    assert low < found["fid"] < high
    with pytest.raises(ValueError, match=r"films\.auroc_mean needs more than features"):
        evaluate(real, made, ["auroc_mean"])
    with pytest.raises(ValueError, match="both sides or for neither"):
        evaluate(real, ["a report"])


def test_texts_are_scored_as_the_command_scores_their_table(tmp_path):
    real = [f"{text} Study {number}." for number, text in enumerate(REPORTS.values())]
    made = [*list(REPORTS.values())[:2], "Clear lungs."]
    names = [f"{number:09d}" for number in range(3)]
    for name, texts in (("real", real), ("made", made)):
        pd.DataFrame({"file_name": names, "report": texts}).to_csv(tmp_path / f"{name}.csv", index=False)
    flags = ["--real", str(tmp_path / "real.csv"), "--reports", str(tmp_path / "made.csv")]
    main(["reports", *flags, "--out", str(tmp_path / "out"), "--num-bootstrap", "40"])
    written = json.loads((tmp_path / "out/results.json").read_text())["reports"]
    found = evaluate(real, made, **FEW)["reports"]
    assert {key: written[key] for key in found} == found
    assert found["bleu_2"] == score_text(real, made)["bleu_2"]
    only = evaluate(real, made, ["rouge_l"], **FEW)["reports"]
    assert only["rouge_l"] == found["rouge_l"]
    assert "micro_f1_14" not in only


@pytest.mark.parametrize(
    ("data", "flags", "message"),
    [
        ((["a"], ["a", "b"]), {}, "the generated report of each"),
        ((["a"], ["a"]), {"metrics": ["fid"]}, "films need synthetic films"),
        ((["a"], ["a"]), {"metrics": ["bert_score_f1"]}, "bert_score=..."),
        ((["a"], ["a"]), {"classifiers": "x"}, "no setting 'classifiers'"),
        (("nowhere", "nowhere"), {}, "nowhere is not a pairs folder"),
        ((np.zeros((2, 3, 4, 5)), "nowhere"), {}, r"not an array of float64 \(2, 3, 4, 5\)"),
        (([], []), {}, "not an empty list"),
    ],
)
def test_what_cannot_be_scored_is_named(data, flags, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*data, **flags)


def test_without_a_network_nothing_of_films_is_scored(folders):
    with pytest.raises(ValueError, match=r"classifier=\.\.\. or features"):
        evaluate(folders / "real", folders / "dark")
    assert set(evaluate(folders / "real", folders / "synthetic", **FEW)) & {"films", "reports"} == {"reports"}
