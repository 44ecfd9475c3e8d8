"""Are prompts obeyed in side, grade, sex, view and age? By hand, and by a classifier trained for it."""

import json

import numpy as np
import pytest

import train_classifier
from data_module.controls import CONTROLS, UNSAID, read_controls, table_controls
from data_module.demo.source import write_demo
from data_module.pairs import PairsFolder, write_pairs
from data_module.text_columns import text_column
from evaluation.__main__ import main
from evaluation.statistics.controls import count_shown, score_shown


def _seen(**probabilities):
    row = np.full(len(CONTROLS), 0.1)
    for name, value in probabilities.items():
        row[CONTROLS.index(name)] = value
    return row


def test_counted_by_hand():
    prompts = [
        "Large left pleural effusion in a 60-year-old man",
        "Bilateral pleural effusion, mild edema, AP view",
        "Small right pneumothorax in a woman",
        "Pneumonia",
    ]
    effusion, edema = "Pleural Effusion", "Edema"
    seen = np.stack(
        [
            # Neither side above one half: the likelier, left. Large. Taken for a man of 50.
            _seen(
                **{
                    f"{effusion}: left": 0.4,
                    f"{effusion}: right": 0.3,
                    f"{effusion}: grade 3": 0.9,
                    "male": 0.7,
                    "age / 100": 0.5,
                }
            ),
            # One side of two; a grade too high; AP.
            _seen(
                **{
                    f"{effusion}: left": 0.9,
                    f"{effusion}: right": 0.2,
                    f"{edema}: grade 2": 0.8,
                    "AP view": 0.9,
                }
            ),
            # Both sides of one; right grade; taken for a man.
            _seen(
                **{
                    "Pneumothorax: left": 0.8,
                    "Pneumothorax: right": 0.9,
                    "Pneumothorax: grade 1": 0.5,
                    "male": 0.9,
                }
            ),
            _seen(),
        ]
    )
    counts = count_shown(read_controls(prompts), seen)
    told = {name: (shown.tolist(), asked.tolist()) for name, (shown, asked) in counts.items()}
    assert told == {
        "side": ([1, 0, 0, 0], [1, 1, 1, 0]),
        "severity": ([1, 0, 1, 0], [1, 1, 1, 0]),
        "sex": ([1, 0, 0, 0], [1, 0, 1, 0]),
        "view": ([0, 1, 0, 0], [0, 1, 0, 0]),
        "age": ([pytest.approx(10), 0, 0, 0], [1, 0, 0, 0]),
    }
    assert score_shown(read_controls(["Pneumonia"]), seen[3:]) == dict.fromkeys(counts)


def test_perfect_sight_is_scored_so():
    asked = read_controls(
        ["Big left effusion, PA view of a 30-year-old woman", "Bilateral pneumonia, marked edema"]
    )
    seen = np.where(asked == UNSAID, 0.0, asked)
    assert score_shown(asked, seen) == {"side": 1.0, "severity": 1.0, "sex": 1.0, "view": 1.0, "age": 0.0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Demo films, a network trained for a few steps, and as "synthetic" films the test films themselves, each
    with its own free prompt, or with another film's."""
    root = tmp_path_factory.mktemp("controls")
    real = write_demo(root / "real", num_studies=300, size=32, num_workers=1)
    train_classifier.main(
        [
            "--data",
            str(real.root),
            "--out",
            str(root / "controls"),
            "--targets",
            "controls",
            "--image-size",
            "32",
        ]
        + ["--hidden-sizes", "16", "32", "--depths", "1", "1", "--num-steps", "300", "--batch-size", "32"]
        + ["--warmup-steps", "5"]
    )
    test = real.split("test")
    prompts = text_column(test, "free_prompt")
    for name, texts in (("own", prompts), ("others", [*prompts[1:], prompts[0]])):
        table = test.table.assign(prompt=texts)
        table["file_name"] = [str(path) for path in test.image_paths]
        (root / name / "images").mkdir(parents=True)
        rows = []
        for row, path in zip(table.to_dict("records"), test.image_paths, strict=True):
            target = f"images/{path.name}"
            (root / name / target).write_bytes(path.read_bytes())
            rows.append({**row, "file_name": target})
        write_pairs(root / name, rows, {}, "# test")
    return root


def _score(folders, chain, synthetic, *flags):
    out = folders / f"results_{synthetic}_{len(flags)}"
    main(
        [
            "images",
            "--real",
            str(folders / "real"),
            "--synthetic",
            str(folders / synthetic),
            "--out",
            str(out),
        ]
        + ["--features", chain.run("classifier"), "--num-bootstrap", "50", *flags]
    )
    return json.loads((out / "results.json").read_text())["films"]


def test_training_says_how_well_it_sees(folders):
    shown = json.loads((folders / "controls/metrics.json").read_text())["shown"]
    assert set(shown) == {"side", "severity", "sex", "view", "age"}
    assert shown["view"] > 0.75  # of 27 films; .96 to 1 by the seed, and after 120 steps .59 to .74


def test_films_with_their_own_prompts_obey_and_others_do_not(folders, chain):
    flags = ("--controls", str(folders / "controls"))
    own, others = (_score(folders, chain, name, *flags)["controls"] for name in ("own", "others"))
    test = PairsFolder.open(folders / "real").split("test")
    asked = read_controls(text_column(test, "free_prompt"))
    for kind, place in (("sex", -3), ("view", -2), ("age", -1)):
        assert own[f"num_{kind}"] == (asked[:, place] != UNSAID).sum()
    assert own["view"] > others["view"] + 0.2
    assert own["sex"] > others["sex"]


def test_the_ceiling_is_the_real_films_own(folders, chain):
    films = _score(folders, chain, "own", "--controls", str(folders / "controls"))
    known = table_controls(PairsFolder.open(folders / "real").split("test").table)
    assert films["controls_real"]["view"] == pytest.approx(films["controls"]["view"], abs=0.15)
    assert set(films["controls_shuffled"]) == {"side", "severity", "sex", "view", "age"}
    low, high = films["intervals"]["controls.view"]
    assert low <= films["controls"]["view"] <= high
    assert (known[:, -2] != UNSAID).all()


def test_without_the_flag_nothing_is_said(folders, chain):
    assert "controls" not in _score(folders, chain, "own")


def test_a_network_of_findings_is_refused(folders, chain):
    with pytest.raises(ValueError, match=r"--controls .* predicts No Finding.*, none of No Finding: left"):
        _score(folders, chain, "own", "--controls", chain.run("classifier"))


def test_a_network_of_controls_is_no_classifier(folders, chain):
    with pytest.raises(ValueError, match=r"--classifier .* none of the 14 CheXpert findings"):
        _score(folders, chain, "own", "--classifier", str(folders / "controls"))
