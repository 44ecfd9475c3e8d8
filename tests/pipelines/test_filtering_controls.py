"""Filtered sampling by sides, grades, sex and view: what is tested, and what is drawn again."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import sample_pairs
import train_classifier
from data_module.controls import CONTROLS
from data_module.images import load_pixels, to_images
from data_module.pairs import PairsFolder
from evaluation.filters.config import KeepConfig
from evaluation.filters.judge import PairFilter
from evaluation.networks.classifier import FilmClassifier

PROMPT = "Left pleural effusion."
LEFT, RIGHT = (CONTROLS.index(f"Pleural Effusion: {side}") for side in ("left", "right"))
NO_LABELS = np.full((1, 14), np.nan, np.float32)


@pytest.fixture(scope="module")
def plain(chain, tmp_path_factory):
    """Items 0 to 7 without a test."""
    out = tmp_path_factory.mktemp("plain") / "films"
    sample_pairs.main([*chain.sample_flags(out, prompt=PROMPT, num_pairs=8), "--films-only"])
    return PairsFolder.open(out)


@pytest.fixture(scope="module")
def controls(chain, plain, tmp_path_factory):
    """A network of controls that takes each control for likelier than not in half of the films."""
    run = tmp_path_factory.mktemp("controls") / "run"
    flags = ["--num-steps", "2", "--batch-size", "4", "--warmup-steps", "0", "--hidden-sizes", "8", "16"]
    train_classifier.main(["--data", chain.run("data"), "--out", str(run), "--targets", "controls", *flags])
    seen = FilmClassifier.open_controls(run).predict(to_images(load_pixels(plain.image_paths, 64)))
    file = run / "model" / "model.safetensors"
    weights = load_file(file)
    (bias,) = [name for name, tensor in weights.items() if tensor.shape == (len(CONTROLS),)]
    # Between the two middle films, so that rounding decides nothing.
    weights[bias] -= torch.quantile(torch.logit(seen), 0.5, dim=0)
    save_file(weights, file, {"format": "pt"})
    return run


@pytest.fixture
def sample(chain, controls):
    def run(out, keep=("controls-agree",), **flags):
        flags = {"controls": controls, "prompt": PROMPT, "num_pairs": 8, "max_tries": 3, **flags}
        sample_pairs.main([*chain.sample_flags(out, **flags), "--films-only", "--keep", *keep])
        return PairsFolder.open(out)

    return run


@pytest.fixture(scope="module")
def whole(chain, controls, tmp_path_factory):
    """Items 0 to 7, in batches of 4."""
    out = tmp_path_factory.mktemp("filtered") / "whole"
    flags = chain.sample_flags(out, controls=controls, prompt=PROMPT, num_pairs=8, max_tries=3)
    sample_pairs.main([*flags, "--films-only", "--keep", "controls-agree"])
    return PairsFolder.open(out)


def shows_left(controls, paths):
    """(N,) bool: the side by the rule, from the network's own outputs."""
    seen = FilmClassifier.open_controls(controls).predict(to_images(load_pixels(paths, 64))).numpy()
    left, right = seen[:, LEFT], seen[:, RIGHT]
    return np.where((left < 0.5) & (right < 0.5), left >= right, (left >= 0.5) & (right < 0.5))


def content(pairs):
    """File name -> bytes of every film; lines of the table and of rejected.csv."""
    films = {path.name: path.read_bytes() for path in sorted(pairs.root.glob("images/*/*.png"))}
    return films, *((pairs.root / name).read_text() for name in ("metadata.csv", "rejected.csv"))


def test_a_film_of_the_wrong_side_is_drawn_again(controls, plain, whole):
    good = shows_left(controls, plain.image_paths)
    rejected = pd.read_csv(whole.root / "rejected.csv")
    assert 0 < good.sum() < 8  # else this tests little
    assert set(rejected["item"]) == set(np.flatnonzero(~good))
    assert set(rejected["reasons"]) == {"controls-agree (Pleural Effusion: side)"}
    kept = {int(path.stem): path for path in whole.image_paths}
    assert shows_left(controls, list(kept.values())).all()
    for item, path in enumerate(plain.image_paths):
        if good[item]:
            assert kept[item].read_bytes() == path.read_bytes()
    assert set(kept) - set(np.flatnonzero(good))  # a later draw passed
    counts = json.loads((whole.root / "provenance.json").read_text())["kept"]
    assert counts["rejected_by"] == {"controls-agree": len(rejected)}
    assert counts["num_draws"] == len(rejected) + len(whole)
    assert counts["num_items_lost"] == 8 - len(whole)


def test_only_what_the_prompt_gives_is_tested(controls, plain):
    films = load_pixels(plain.image_paths, 64)
    tests = PairFilter(KeepConfig(("controls-agree",), controls=str(controls)))
    good = shows_left(controls, plain.image_paths)

    def judge(prompt):
        return tests.judge(films, None, np.repeat(NO_LABELS, 8, axis=0), [prompt] * 8)

    wrong = [[] if one else ["controls-agree (Pleural Effusion: side)"] for one in good]
    assert judge("Left pleural effusion.") == wrong
    # Neither a side that is not given, nor one of a finding that is denied or in doubt.
    for prompt in ("Pleural effusion.", "No left pleural effusion.", "Possible left pleural effusion."):
        assert judge(prompt) == [[]] * 8
    told = judge("Large left pleural effusion, PA view of a man")
    assert {part for failed in told for test in failed for part in test[16:-1].split(", ")} == {
        "Pleural Effusion: side",
        "Pleural Effusion: severity",
        "sex",
        "view",
    }
    for found, side in zip(told, wrong, strict=True):
        assert ("Pleural Effusion: side" in str(found)) == bool(side)


def test_some_errors_may_be_allowed(controls, plain):
    films, prompts = load_pixels(plain.image_paths, 64), ["Left pleural effusion, PA view"] * 8
    labels = np.repeat(NO_LABELS, 8, axis=0)
    strict, loose = (
        PairFilter(KeepConfig(("controls-agree",), controls=str(controls), max_control_errors=limit))
        for limit in (0, 1)
    )
    for failed, left in zip(
        strict.judge(films, None, labels, prompts), loose.judge(films, None, labels, prompts), strict=True
    ):
        assert left == (failed if "," in str(failed) else [])


def test_a_network_is_judged_by_the_outputs_that_it_has(controls, plain, tmp_path):
    """One that knows no sides says nothing of them."""
    run = tmp_path / "run"
    shutil.copytree(controls, run)
    config = json.loads((run / "model" / "config.json").read_text())
    names = {place: name.replace("left", "port") for place, name in config["id2label"].items()}
    config |= {"id2label": names, "label2id": {name: int(place) for place, name in names.items()}}
    (run / "model" / "config.json").write_text(json.dumps(config))
    films = load_pixels(plain.image_paths, 64)
    tests = PairFilter(KeepConfig(("controls-agree",), controls=str(run)))
    assert tests.judge(films, None, np.repeat(NO_LABELS, 8, axis=0), [PROMPT] * 8) == [[]] * 8


def test_reports_are_held_against_the_prompt():
    tests = PairFilter(KeepConfig(("report-controls-agree",)))
    prompt = "Large right pleural effusion, mild edema."
    reports = [
        "FINDINGS: Large right pleural effusion. Mild edema. IMPRESSION: Effusion.",
        "FINDINGS: Large bilateral pleural effusions. Mild edema.",
        "FINDINGS: Small right pleural effusion and slight edema.",
        "FINDINGS: There is a pleural effusion. Mild edema.",
        "FINDINGS: Sizable effusion on the right, mild left edema, left pneumothorax.",
    ]
    films, labels = np.zeros((5, 64, 64), np.uint8), np.repeat(NO_LABELS, 5, axis=0)
    effusion = "report-controls-agree (Pleural Effusion: {})".format
    assert tests.judge(films, reports, labels, [prompt] * 5) == [
        [],
        [effusion("side")],
        [effusion("severity")],
        [effusion("side, Pleural Effusion: severity")],
        [],  # what the prompt leaves open is not tested
    ]
    assert tests.judge(films, reports, labels, ["Pleural effusion in a man."] * 5) == [[]] * 5
    with pytest.raises(ValueError, match="need reports"):
        tests.judge(films, None, labels, [prompt] * 5)


def test_shards_restarts_and_items_alone_are_the_same(sample, whole, chain, controls, tmp_path):
    out = tmp_path / "shards"
    flags = chain.sample_flags(out, controls=controls, prompt=PROMPT, num_pairs=8, max_tries=3, shard="1/2")
    sample_pairs.main([*flags, "--films-only", "--keep", "controls-agree"])
    assert not (out / "metadata.csv").exists()
    assert content(sample(out, shard="0/2")) == content(whole)
    sorted(out.glob("images/*/*.png"))[0].unlink()  # a film that is gone is made again
    assert content(sample(out)) == content(whole)
    films, _, _ = content(sample(tmp_path / "alone", start=4, num_pairs=4))
    assert films == {name: data for name, data in content(whole)[0].items() if int(name[:8]) >= 4}


def test_the_networks_content_decides(sample, whole, controls, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole.root, out)
    moved = tmp_path / "moved"
    shutil.copytree(controls, moved)
    assert content(sample(out, controls=moved)) == content(whole)
    file = moved / "model" / "model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(file).items()}, file)
    with pytest.raises(ValueError, match=r"was sampled with keep\.controls = .*, now .*--overwrite"):
        sample(out, controls=moved)
    with pytest.raises(ValueError, match=r"was sampled with keep\.max_control_errors = 0, now 1"):
        sample(out, max_control_errors=1)


def test_folders_from_before_the_test_go_on(chain, tmp_path):
    out = tmp_path / "out"
    flags = chain.sample_flags(out, num_pairs=4, classifier=chain.run("classifier"), max_film_errors=14)
    sample_pairs.main([*flags, "--films-only", "--keep", "film-agrees"])
    identity = out / ".parts" / "identity.json"
    saved = json.loads(identity.read_text())
    del saved["keep.controls"], saved["keep.max_control_errors"]
    identity.write_text(json.dumps(saved))
    films = sorted(out.glob("images/*/*.png"))
    before = films[0].read_bytes()
    films[0].unlink()
    sample_pairs.main([*flags, "--films-only", "--keep", "film-agrees"])
    assert films[0].read_bytes() == before


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("no/such", r"--controls no/such is neither a run folder nor a model folder"),
        ("findings", r"--controls .* predicts No Finding.*, none of No Finding: left"),
        ("torchxrayvision:any", r"--controls torchxrayvision:any predicts findings, none of No Find"),
    ],
)
def test_no_network_of_controls_is_named(sample, chain, tmp_path, network, message):
    network = chain.run("classifier") if network == "findings" else network
    with pytest.raises(ValueError, match=message):
        sample(tmp_path / "out", controls=network)
    assert not (tmp_path / "out").exists()


def test_wrong_flags_are_named():
    with pytest.raises(ValueError, match=r"controls-agree needs --controls RUN, a run of train_classifier"):
        KeepConfig(("controls-agree",))
    with pytest.raises(ValueError, match=r"--max-control-errors -1: must be 0 or more"):
        KeepConfig(max_control_errors=-1)
