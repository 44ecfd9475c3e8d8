"""Mixed training sets, and classifiers trained on them compared on the same real films."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from data_module.findings import FINDINGS
from data_module.pairs import PairsFolder, write_pairs
from evaluation.__main__ import main
from evaluation.networks.classifier import FilmClassifier
from evaluation.statistics.findings import score_auroc
from vision_module.classifier import build_classifier, save_classifier
from vision_module.config import ResNetSize


def _folder(root, num: int, seed: int, splits=("train", "test", "validation")):
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    rows = []
    for number in range(num):
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(root / f"images/{number}.png")
        labels = {"Edema": float(number % 2), "Fracture": float(number % 5 == 0)}
        row = {"file_name": f"images/{number}.png", "report": "x", "patient_id": f"p{number}"}
        rows.append({**row, "split": splits[number % len(splits)], **labels})
    return write_pairs(root, rows, {}, "# test")


@pytest.fixture
def folders(tmp_path):
    _folder(tmp_path / "real", 60, 0)
    _folder(tmp_path / "made", 30, 1, ("test",))
    return tmp_path


def _mix(root, out, *flags):
    main(
        [
            "mix",
            "--real",
            str(root / "real"),
            "--synthetic",
            str(root / "made"),
            "--out",
            str(root / out),
            *flags,
        ]
    )
    return PairsFolder.open(root / out)


def test_mixes_keep_real_films_to_be_judged_by(folders):
    real = PairsFolder.open(folders / "real")
    mixed = _mix(folders, "mixed", "--num-real", "10", "--num-synthetic", "7")
    train = mixed.split("train").table
    assert (train["file_name"].str.startswith("images/real/")).sum() == 10
    assert (train["file_name"].str.startswith("images/synthetic/")).sum() == 7
    for split in ("validation", "test"):
        names = mixed.split(split).table["file_name"].str.removeprefix("images/real/")
        assert names.tolist() == real.split(split).table["file_name"].tolist()
    assert mixed.image_paths[0].read_bytes() == real.split("test").image_paths[0].read_bytes()
    assert not set(train["patient_id"]) & set(mixed.split("test").table["patient_id"])


def test_rare_findings_alone(folders):
    rare = _mix(folders, "rare", "--only", "Fracture").split("train")
    added = rare.table["file_name"].str.startswith("images/synthetic/").to_numpy()
    assert added.sum() == 6
    assert (rare.labels[added, FINDINGS.index("Fracture")] == 1).all()


def test_synthetic_films_several_times_over(folders):
    once = _mix(folders, "once", "--num-real", "4", "--num-synthetic", "5").split("train")
    often = _mix(folders, "often", "--num-real", "4", "--num-synthetic", "5", "--repeat", "3").split("train")
    assert (len(once), len(often)) == (9, 19)
    assert often.table["file_name"].is_unique
    for column in ("patient_id", "Edema"):  # the same films and patients, three times
        counts = often.table[4:][column].value_counts()
        assert counts.equals(once.table[4:][column].value_counts() * 3)
    assert [path.read_bytes() for path in often.image_paths[4:9]] == [
        path.read_bytes() for path in often.image_paths[14:]
    ]
    assert (_mix(folders, "often", "--num-real", "4", "--num-synthetic", "5", "--repeat", "3")).root


def test_pairs_that_failed_their_tests_are_left_out(folders):
    """--keep-best keeps the best draw of a prompt that never passed: a film that may belie its label."""
    with pytest.raises(ValueError, match=r"--passed-only: .*made was drawn without sample_pairs\.py --keep"):
        _mix(folders, "mixed", "--passed-only")
    table = PairsFolder.open(folders / "made").table
    table["failed_tests"] = ["film-agrees" if number % 10 == 0 else "" for number in range(len(table))]
    table.to_csv(folders / "made/metadata.csv", index=False)
    whole = _mix(folders, "whole", "--num-real", "0", "--only", "Fracture")
    passed = _mix(folders, "passed", "--num-real", "0", "--only", "Fracture", "--passed-only")
    assert (len(whole.split("train")), len(passed.split("train"))) == (6, 3)
    assert set(passed.split("train").table["file_name"].str.extract(r"(\d+)\.png")[0]) == {"5", "15", "25"}
    table["failed_tests"] = "film-agrees"
    table.to_csv(folders / "made/metadata.csv", index=False)
    with pytest.raises(ValueError, match=r"--passed-only: no pair of .*made passed its tests"):
        _mix(folders, "none", "--passed-only")
    table.drop(columns="failed_tests").to_csv(folders / "made/metadata.csv", index=False)
    (folders / "made/provenance.json").write_text('{"kept": {"num_kept": 30}}')
    assert len(_mix(folders, "all", "--num-real", "0", "--passed-only").split("train")) == 30


def test_which_synthetic_films_are_drawn_does_not_depend_on_the_real_ones(folders):
    names = [
        set(
            _mix(folders, f"real_{num}", "--num-real", num, "--num-synthetic", "7")
            .split("train")
            .table["file_name"]
        )
        for num in ("0", "10", "-1")
    ]
    made = [{name for name in some if name.startswith("images/synthetic/")} for some in names]
    assert len(made[0]) == 7
    assert made[0] == made[1] == made[2]


def test_what_cannot_be_mixed_is_named(folders):
    for flags, message in (
        (["--only", "Cough"], "--only 'Cough'"),
        (["--repeat", "0"], "--repeat 0: must be at least 1"),
        (["--num-real", "999"], "--num-real.*999 asked for, 20 there"),
    ):
        with pytest.raises(ValueError, match=message):
            _mix(folders, "bad", *flags)
    first = (_mix(folders, "once").root / "metadata.csv").read_bytes()
    assert (_mix(folders, "once").root / "metadata.csv").read_bytes() == first  # the same command again
    with pytest.raises(ValueError, match="name another"):
        _mix(folders, "once", "--seed", "1")


def test_training_sets_are_compared_on_the_same_films(folders, capsys):
    for seed in range(3):
        torch.manual_seed(seed)
        save_classifier(build_classifier(ResNetSize(8, (8, 12), (1, 1))).eval(), folders / f"c{seed}", 32, {})
    runs = [f"base={folders}/c0", f"other={folders}/c1", f"other={folders}/c2"]
    flags = ["--real", str(folders / "real"), "--out", str(folders / "out"), "--num-bootstrap", "60"]
    main(["utility", *runs, *flags])
    found = json.loads((folders / "out/utility.json").read_text())
    test = PairsFolder.open(folders / "real").split("test")
    expected = []
    for seed in range(3):
        scores = FilmClassifier.open(folders / f"c{seed}").score_folder(test.image_paths)
        expected.append(score_auroc(test.labels, scores.probabilities))
    assert found["auroc"]["base"]["mean"] == pytest.approx(expected[0]["mean"])
    edema = [scores["per_finding"]["Edema"] for scores in expected[1:]]
    assert found["auroc"]["other"]["Edema"] == pytest.approx(np.mean(edema))
    gain = next(entry for entry in found["gains"] if entry["figure"] == "mean")
    low, high = gain["interval"]
    assert low <= gain["gain"] <= high
    assert "| Edema |" in capsys.readouterr().out
    main(["utility", runs[0], runs[0].replace("base", "same"), *flags])
    same = json.loads((folders / "out/utility.json").read_text())
    assert all(entry["gain"] == 0.0 and entry["p_holm"] == 1.0 for entry in same["gains"])
    with pytest.raises(ValueError, match="write NAME=RUN"):
        main(["utility", str(folders / "c0"), *flags])


@pytest.fixture
def trained(folders):
    """Six classifiers of any weights, as runs of five names; real films with sex and age."""
    for seed in range(6):
        torch.manual_seed(seed)
        save_classifier(build_classifier(ResNetSize(8, (8, 12), (1, 1))).eval(), folders / f"c{seed}", 32, {})
    pairs = PairsFolder.open(folders / "real")
    rows = pairs.table.assign(sex=["F", "M"] * 30, age=[30.0] * 3 + [70.0] * 3 + [30.0] * 27 + [70.0] * 27)
    write_pairs(folders / "real", rows.to_dict("records"), {}, "# test")
    names = ("base", "added@8", "added@8", "added@16", "tuned@16", "other")
    return folders, [f"{name}={folders}/c{seed}" for seed, name in enumerate(names)]


def test_gains_are_drawn_over_the_number_of_synthetic_films(trained):
    folders, runs = trained
    flags = ["--real", str(folders / "real"), "--out", str(folders / "out"), "--num-bootstrap", "60"]
    main(["utility", *runs, *flags, "--rare", "Fracture", "--by", "sex"])
    found = json.loads((folders / "out/utility.json").read_text())
    gains = {(entry["name"], entry["figure"]): entry for entry in found["gains"]}
    for figure in ("mean", "mean of rare ones", "Edema", "sex F", "sex M"):
        lines = found["curves"][figure]
        assert {name: [point["num"] for point in line] for name, line in lines.items()} == {
            "added": [8, 16],
            "tuned": [16],
        }
        for point in lines["added"]:
            entry = gains[f"added@{point['num']}", figure]
            assert (point["gain"], point["interval"]) == (entry["gain"], entry["interval"])
    assert found["auroc"]["other"]["mean of rare ones"] == found["auroc"]["other"]["Fracture"]
    assert (folders / "out/utility.png").read_bytes()[:4] == b"\x89PNG"
    svg = (folders / "out/utility.svg").read_text()
    for text in ("mean of rare ones", "sex F", "added", "tuned", "AUROC over base"):
        assert text in svg
    assert ">Edema<" not in svg


def test_groups_are_scored_on_their_own_films(trained):
    """A group's AUROC is that of its films alone, over findings that every group can be scored on."""
    folders, runs = trained
    flags = ["--real", str(folders / "real"), "--out", str(folders / "out"), "--num-bootstrap", "60"]
    main(["utility", runs[0], runs[5], *flags, "--by", "sex", "age:50"])
    found = json.loads((folders / "out/utility.json").read_text())
    test = PairsFolder.open(folders / "real").split("test")
    probabilities = FilmClassifier.open(folders / "c5").score_folder(test.image_paths).probabilities
    for figure, rows in (
        ("sex F", (test.table["sex"] == "F").to_numpy()),
        ("age 50 up", (test.table["age"] == 70).to_numpy()),
    ):
        assert found["num_films_of"][figure] == rows.sum()
        per_finding = score_auroc(test.labels[rows], probabilities[rows])["per_finding"]
        expected = np.mean([per_finding[name] for name in found["findings"][figure]])
        assert found["auroc"]["other"][figure] == pytest.approx(expected)
    assert not found["curves"]
    assert not (folders / "out/utility.png").exists()
    families = {entry["family"] for entry in found["gains"]}
    assert families == {"means", "findings", "groups"}


def test_an_unknown_rare_finding_or_group_is_refused(trained):
    folders, runs = trained
    flags = ["--real", str(folders / "real"), "--out", str(folders / "out")]
    with pytest.raises(ValueError, match="--rare 'Cough'"):
        main(["utility", *runs, *flags, "--rare", "Cough"])
    with pytest.raises(ValueError, match="--by color: color is not there"):
        main(["utility", *runs, *flags, "--by", "color"])
