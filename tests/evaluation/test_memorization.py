"""A generator that gives training films back is found, one that does not is not; and who was a member."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from sklearn.metrics import roc_auc_score, roc_curve

from data_module.pairs import write_pairs
from evaluation.__main__ import main
from evaluation.privacy.distances import standardize
from evaluation.privacy.extraction import compare_shares, has_clique, relative_distances, share
from evaluation.statistics.weighted_estimators import found_at, separation
from vision_module.classifier import build_classifier, save_classifier
from vision_module.config import ResNetSize

NUM_PROMPTS, NUM_DRAWS = 6, 4


def draw_film(rng):
    """A smooth film of 32 x 32 gray levels."""
    field = ndimage.gaussian_filter(rng.normal(size=(32, 32)), 3)
    return 128 + 40 * field / field.std()


def change(film, rng):
    """The same film, a little brighter, with noise."""
    return 1.05 * film + rng.normal(scale=4.0, size=film.shape)


def write_folder(root, films, prompts, splits):
    (root / "images").mkdir(parents=True)
    rows = []
    for number, (film, prompt, split) in enumerate(zip(films, prompts, splits, strict=True)):
        name = f"images/{number}.png"
        Image.fromarray(np.clip(film, 0, 255).astype(np.uint8)).save(root / name)
        row = {"file_name": name, "report": "x", "patient_id": f"{root.name}{number}", "split": split}
        rows.append({**row, "prompt": prompt})
    return write_pairs(root, rows, {}, "# test")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real films; draws that are training films a little changed, most of their own prompt; honest draws."""
    root, rng = tmp_path_factory.mktemp("memory"), np.random.default_rng(0)
    training = [draw_film(rng) for _ in range(30)]
    held_out = [draw_film(rng) for _ in range(40)]
    prompts = [f"prompt {number}" for number in range(30)] + ["held out"] * 40
    write_folder(
        root / "real", training + held_out, prompts, ["train"] * 30 + ["test"] * 20 + ["validation"] * 20
    )
    asked = [f"prompt {place % NUM_PROMPTS}" for place in range(NUM_PROMPTS * NUM_DRAWS)]
    honest = [draw_film(rng) for _ in asked]
    copied = [film.copy() for film in honest]
    for place in range(NUM_PROMPTS * NUM_DRAWS):
        prompt = place % NUM_PROMPTS
        if prompt < 3:  # every draw of these is the prompt's own training film
            copied[place] = change(training[prompt], rng)
    copied[4] = change(training[20], rng)  # one draw of prompt 4 is another prompt's film
    made = {"copied": copied, "honest": honest}
    for name, films in made.items():
        write_folder(root / name, [*films, draw_film(rng)], [*asked, "no training prompt"], ["train"] * 25)
    torch.manual_seed(0)
    save_classifier(build_classifier(ResNetSize(8, (8, 12), (1, 1))).eval(), root / "network", 32, {})
    return root


def find(root, name):
    flags = ["--real", root / "real", "--draws", root / name, "--features", root / "network"]
    main(["memorization", *map(str, flags), "--out", str(root / f"out_{name}")])
    return json.loads((root / f"out_{name}/memorization.json").read_text())


def test_a_memorizing_generator_is_found(folders, capsys):
    record = find(folders, "copied")
    assert record["memorized"]
    figures = record["figures"]
    assert figures["extraction"]["prompts"]["count"] == 4
    assert figures["own"]["prompts"]["count"] == 3
    assert figures["clique"]["prompts"]["count"] == 3
    assert figures["copy"]["prompts"]["count"] == 4
    assert figures["extraction"]["num_films"] == 3 * NUM_DRAWS + 1
    assert figures["extraction"]["held_out"] == share(0, 40 // NUM_DRAWS)
    assert record["training_films"]["count"] == 4
    assert record["num_other_draws"] == 1
    assert [prompt["own"] for prompt in record["prompts"]] == [NUM_DRAWS] * 3 + [0] * 3
    assert record["prompts"][4]["extraction"] == 1
    first = record["nearest"][0]
    assert first["own"]
    assert first["training_film"] in {f"images/{number}.png" for number in range(3)}
    text = capsys.readouterr().out
    assert "Memorized" in text
    assert "prompt 0" not in text  # a prompt may be a patient's report


def test_an_honest_generator_is_not(folders, capsys):
    record = find(folders, "honest")
    assert not record["memorized"]
    assert all(figure["prompts"]["count"] == 0 for figure in record["figures"].values())
    low, high = record["figures"]["extraction"]["prompts"]["interval"]
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / NUM_PROMPTS))  # Clopper-Pearson of 0 of 6
    assert "Nothing found" in capsys.readouterr().out


def test_draws_of_no_training_prompt_are_refused(folders):
    flags = ["--real", folders / "real", "--draws", folders / "real", "--features", folders / "network"]
    write_folder(folders / "lost", [draw_film(np.random.default_rng(1))], ["unknown"], ["train"])
    flags[3] = folders / "lost"
    with pytest.raises(ValueError, match=r"none of its prompts is a training prompt.*--num-prompts"):
        main(["memorization", *map(str, flags), "--out", str(folders / "out_lost")])


def test_relative_distance_by_hand():
    """The nearest over half the mean of the 50 nearest, itself among them."""
    rng = np.random.default_rng(0)
    films, training = (standardize(rng.uniform(0, 255, (num, 64, 64))) for num in (5, 80))
    training[3] = films[2]
    found, rows = relative_distances(films, training)
    distances = np.linalg.norm((films[:, None] - training[None]).reshape(5, 80, -1), axis=2)
    nearest = np.sort(distances, axis=1)[:, :50]
    np.testing.assert_allclose(found, nearest[:, 0] / (0.5 * nearest.mean(axis=1)), rtol=1e-4, atol=1e-3)
    assert rows[2] == 3
    assert found[2] < 0.01
    assert (np.delete(found, 2) > 1.0).all()


def test_a_clique_needs_all_to_be_alike():
    """a - b - c in a row, each near the next: no clique of three; with a and c alike, one."""
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(64 * 64, 4)))[0].T
    turn = np.arccos(1 - 0.02)

    def film(angle):
        return (np.cos(angle) * directions[0] + np.sin(angle) * directions[1]).reshape(64, 64)

    row = np.stack([film(0.0), film(turn), film(2 * turn), directions[2].reshape(64, 64)])
    assert not has_clique(row, 0.03)
    assert has_clique(row, 0.1)
    assert not has_clique(row[:2], 0.1)
    assert has_clique(np.stack([film(0.0)] * 3), 0.0)


def test_shares_and_their_comparison():
    counted = share(3, 12)
    low, high = counted["interval"]
    assert stats.binom.sf(2, 12, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 12, high) == pytest.approx(0.025)
    # 4 of 6 against 0 of 10: C(6, 4) / C(16, 4) is the only table as extreme.
    assert compare_shares(share(4, 6), share(0, 10)) == pytest.approx(15 / 1820)
    assert compare_shares(share(4, 6), share(0, 0)) is None


def test_separation_and_found_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth, scores = rng.random(300) < 0.4, rng.normal(size=300).round(1)
    scores[truth] += 0.8
    weights = rng.multinomial(300, np.full(300, 1 / 300), 5).astype(np.float32)
    for row in weights:
        known = row > 0
        expected = roc_auc_score(truth[known], scores[known], sample_weight=row[known])
        assert separation(truth, scores)(row[None])[0] == pytest.approx(expected, abs=1e-6)
        alarms, found, _ = roc_curve(
            truth[known], scores[known], sample_weight=row[known], drop_intermediate=False
        )
        expected = found[alarms <= 0.05 + 1e-9].max()
        assert found_at(truth, scores, 0.05)(row[None])[0] == pytest.approx(expected, abs=1e-6)


def write_losses(path, gap, seed=0, num=200):
    rng = np.random.default_rng(seed)
    splits = np.repeat(["train", "test"], num)
    own = rng.gamma(20.0, size=2 * num)
    levels = {
        f"loss_{t}": scale * (own + rng.gamma(5.0, size=2 * num)) for t, scale in ((900, 10), (100, 0.1))
    }
    table = pd.DataFrame({"file_name": [f"{i}.png" for i in range(2 * num)], "split": splits, **levels})
    table.loc[splits == "train", list(levels)] *= 1.0 - gap
    table.to_csv(path, index=False)
    return table


@pytest.mark.parametrize(("gap", "told"), [(0.5, True), (0.0, False)])
def test_members_are_told_where_losses_differ(tmp_path, gap, told):
    table = write_losses(tmp_path / "losses.csv", gap)
    flags = ["--losses", str(tmp_path / "losses.csv"), "--out", str(tmp_path), "--num-bootstrap", "300"]
    main(["membership", *flags])
    record = json.loads((tmp_path / "membership.json").read_text())
    assert record["told_apart"] is told
    scores = np.mean([-table[name] / table[name].mean() for name in ("loss_900", "loss_100")], axis=0)
    members = table["split"] == "train"
    figure = record["figures"]["all levels"]
    assert figure["auroc"]["value"] == pytest.approx(roc_auc_score(members, scores), abs=1e-6)
    low, high = figure["auroc"]["interval"]
    assert low < figure["auroc"]["value"] < high
    assert figure["found"]["value"] == pytest.approx((scores[members] > np.sort(scores[~members])[-3]).mean())
    assert set(record["figures"]) == {"all levels", "900", "100"}


def test_of_few_others_one_percent_is_not_told(tmp_path):
    write_losses(tmp_path / "losses.csv", 0.2, num=50)
    main(
        [
            "membership",
            "--losses",
            str(tmp_path / "losses.csv"),
            "--out",
            str(tmp_path),
            "--num-bootstrap",
            "50",
        ]
    )
    record = json.loads((tmp_path / "membership.json").read_text())
    assert "found" not in record["figures"]["all levels"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="split"), "needs rows, and the columns"),
        (lambda table: table.rename(columns=lambda name: name.replace("loss_", "x")), "needs rows"),
        (lambda table: table.assign(loss_100="secret"), "loss_100 holds something else"),
        (lambda table: table.assign(loss_100=np.nan), "loss_100 holds something else"),
        (lambda table: table.assign(loss_100=-1.0), "loss_100 holds something else"),
        (lambda table: table.assign(split="train"), "and of another"),
    ],
)
def test_tables_that_cannot_be_scored_are_named(tmp_path, change, message):
    change(write_losses(tmp_path / "x.csv", 0.1, num=5)).to_csv(tmp_path / "losses.csv", index=False)
    with pytest.raises(ValueError, match=message) as error:
        main(["membership", "--losses", str(tmp_path / "losses.csv"), "--out", str(tmp_path)])
    assert "secret" not in str(error.value)
