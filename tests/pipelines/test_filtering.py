"""Filtered sampling: what the tests of --keep find, and that an item is the same whatever its company."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import sample_pairs
from data_module.findings import FINDINGS, THRESHOLDS_FILE
from data_module.images import load_pixels, read_pixels, to_images
from data_module.pairs import PairsFolder
from data_module.rejections import count_rejected
from data_module.sampling_plan import PlannedPair
from evaluation.filters.config import KeepConfig
from evaluation.filters.judge import PairFilter
from evaluation.filters.kept import warn_of_lost
from evaluation.filters.weak_findings import find_weak
from evaluation.networks.classifier import FilmClassifier
from pipelines.filtering import FilteredSampler

EFFUSION, FRACTURE = FINDINGS.index("Pleural Effusion"), FINDINGS.index("Fracture")


MAX_ERRORS = 6  # findings in which a kept film may differ: a third of the draws pass


@pytest.fixture(scope="module")
def plain(chain, tmp_path_factory):
    """Items 0 to 11 without a test."""
    out = tmp_path_factory.mktemp("plain") / "pairs"
    sample_pairs.main(chain.sample_flags(out, num_pairs=12))
    return PairsFolder.open(out)


@pytest.fixture(scope="module")
def judge(chain, plain, tmp_path_factory):
    """A classifier that sees each finding in half of the films: it differs from draw to draw."""
    run = tmp_path_factory.mktemp("classifier") / "run"
    shutil.copytree(chain.run("classifier"), run)
    probabilities, _ = FilmClassifier.open(run).score(to_images(load_pixels(plain.image_paths, 64)))
    limits = dict(zip(FINDINGS, probabilities.median(dim=0).values.tolist(), strict=True))
    (run / "model" / THRESHOLDS_FILE).write_text(json.dumps(limits))
    return str(run)


@pytest.fixture
def sample(chain, judge):
    def run(out, keep=("film-agrees",), **flags):
        sample_pairs.main([*filter_flags(chain, judge, out, **flags), "--keep", *keep])
        return PairsFolder.open(out)

    return run


def filter_flags(chain, judge, out, **flags):
    flags = {"classifier": judge, "max_film_errors": MAX_ERRORS, "max_tries": 3, "num_pairs": 12, **flags}
    return chain.sample_flags(out, **flags)


def content(pairs):
    """Everything that was kept and rejected: file name -> (film bytes, row), and rejected.csv's lines."""
    table = pd.read_csv(pairs.root / "metadata.csv", dtype=str, keep_default_na=False)
    rows = {
        row["file_name"]: ((pairs.root / row["file_name"]).read_bytes(), tuple(row))
        for _, row in table.iterrows()
    }
    lines = set((pairs.root / "rejected.csv").read_text().splitlines()[1:])
    return rows, lines


def items_of(lines):
    return {int(line.split(",")[0]) for line in lines}


@pytest.fixture(scope="module")
def data(chain):
    return PairsFolder.open(chain.run("data"))


@pytest.fixture(scope="module")
def whole(chain, judge, tmp_path_factory):
    """Items 0 to 11, in batches of 4."""
    out = tmp_path_factory.mktemp("filtered") / "whole"
    sample_pairs.main([*filter_flags(chain, judge, out), "--keep", "film-agrees"])
    return PairsFolder.open(out)


def open_filter(chain, data, *keep, **settings):
    config = KeepConfig(keep, classifier=chain.run("classifier"), **settings)
    return PairFilter(config, data)


def test_film_agrees(chain, data):
    """Asked for what the classifier decides, at its own thresholds, a film passes; one finding more, not."""
    tests = open_filter(chain, data, "film-agrees")
    films = load_pixels(data.image_paths[:6], 64)
    probabilities = tests._score(films)[0]
    limits = np.array([tests.classifier.thresholds.get(name, 0.5) for name in FINDINGS], np.float32)
    asked = (probabilities >= limits).astype(np.float32)
    assert tests.judge(films, None, asked) == [[]] * 6
    asked[:, FRACTURE] = 1.0 - asked[:, FRACTURE]
    assert tests.judge(films, None, asked) == [["film-agrees (Fracture)"]] * 6
    loose = open_filter(chain, data, "film-agrees", max_film_errors=1)
    assert loose.judge(films, None, asked) == [[]] * 6
    asked[:, FRACTURE] = -1.0  # uncertain is not tested, and neither is a prompt that nothing is known of
    assert tests.judge(films, None, asked) == [[]] * 6
    assert tests.judge(films, None, np.full_like(asked, np.nan)) == [[]] * 6


def test_reports_are_read(chain, data):
    reports = [
        "FINDINGS: Small left pleural effusion. IMPRESSION: Small left pleural effusion.",
        "FINDINGS: Small left pleural effusion. IMPRESSION: Large right pleural effusion.",
        "FINDINGS: Rib fractures. IMPRESSION: Rib fractures.",
        "FINDINGS: No pleural effusion. IMPRESSION: Normal chest.",
    ]
    asked = np.full((4, 14), np.nan, np.float32)
    asked[:, EFFUSION] = 1.0
    tests = PairFilter(KeepConfig(("report-agrees", "consistent")))
    films = np.zeros((4, 64, 64), np.uint8)
    assert tests.judge(films, reports, asked) == [
        [],
        ["consistent (side, severity)"],
        ["report-agrees (Pleural Effusion, Fracture)"],
        ["report-agrees (No Finding, Pleural Effusion)"],
    ]
    # What one report leaves out is wrong in any company, and alone.
    assert tests.judge(films[2:3], reports[2:3], asked[2:3]) == [
        ["report-agrees (Pleural Effusion, Fracture)"]
    ]
    with pytest.raises(ValueError, match="need reports"):
        tests.judge(films, None, asked)


def test_copies_and_strange_films(chain, data):
    tests = open_filter(chain, data, "in-distribution", "not-a-copy")
    train, held_out = (load_pixels(data.split(name).image_paths[:4], 64) for name in ("train", "test"))
    asked = np.full((4, 14), np.nan, np.float32)
    assert tests.judge(held_out, None, asked) == [[]] * 4
    copies = np.roll(train, 2, axis=2)  # shifted by two pixels
    assert all("not-a-copy (near a training film)" in failed for failed in tests.judge(copies, None, asked))
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)
    assert all(
        failed == ["in-distribution (unlike the training films)"]
        for failed in tests.judge(noise, None, asked)
    )
    strict = open_filter(chain, data, "not-a-copy", min_copy_distance=1000.0)
    assert strict.judge(held_out, None, asked) == [["not-a-copy (near a training film)"]] * 4


def test_training_films_are_read_once(chain, data, tmp_path):
    config = KeepConfig(("not-a-copy",), classifier=chain.run("classifier"))
    first = PairFilter(config, data, tmp_path).training
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = PairFilter(config, data, tmp_path).training
    assert again.thresholds == first.thresholds
    assert len(files) == 3  # features of training and held-out films, and the distances between them
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


def test_draws_until_all_pass():
    """Item i passes at try i; of eight items the last four never do. Known counts, and the packed shapes."""
    shapes = []

    def draw(items, plans, number):
        shapes.append(len(items))
        return np.stack([np.full((2, 2), 16 * item + number, np.uint8) for item in items]), None

    def judge(films, reports, labels, prompts):
        return [[] if film[0, 0] % 16 == film[0, 0] // 16 else ["film-agrees (Fracture)"] for film in films]

    plan = [PlannedPair("", np.full(14, np.nan), None, "")] * 8
    films, reports, rejected, failing = FilteredSampler(draw, judge, 4).sample(range(8), plan)
    assert reports is None
    assert failing is None
    assert [None if film is None else int(film[0, 0]) for film in films] == [0, 17, 34, 51, *[None] * 4]
    assert [len(tries) for tries in rejected] == [0, 1, 2, 3, 4, 4, 4, 4]
    assert shapes == [8, 8, 8, 8]  # 8, 7, 6 and 5 wanted
    shapes.clear()
    FilteredSampler(draw, judge, 9).sample(range(5), plan[:5])
    assert shapes == [5, 4, 4, 2, 1]


def test_the_best_draw_of_an_item_that_never_passes():
    """Draws 0, 1 and 2 of an item have 3, 1 and 2 errors; item 1 passes at once, item 2 only copies."""
    reasons = (["film-agrees (A, B)", "consistent (side)"], ["film-agrees (A)"], ["film-agrees (A, B)"])

    def draw(items, plans, number):
        films = np.stack([np.full((2, 2), 16 * item + number, np.uint8) for item in items])
        return films, [f"{item} {number}" for item in items]

    def judge(films, reports, labels, prompts):
        failed = []
        for item, number in (divmod(int(film[0, 0]), 16) for film in films):
            copied = ["not-a-copy (near a training film)"] if item == 2 else []
            failed.append([] if item == 1 else [*reasons[number], *copied])
        return failed

    plan = [PlannedPair("", np.full(14, np.nan), None, "")] * 3
    films, reports, rejected, failing = FilteredSampler(draw, judge, 3, keep_best=True).sample(range(3), plan)
    assert [None if film is None else int(film[0, 0]) for film in films] == [1, 16, None]
    assert reports == ["0 1", "1 0", ""]
    assert failing == ["film-agrees (A)", "", ""]
    assert rejected[0] == ["film-agrees (A, B); consistent (side)", "", "film-agrees (A, B)"]
    assert (rejected[1], len(rejected[2])) == ([], 3)
    counts = count_rejected(dict(enumerate(rejected)), {0: ["A"], 1: ["A"], 2: []}, {0: True, 1: False})
    assert (counts["num_draws"], counts["num_kept"], counts["num_rejected"]) == (7, 2, 5)
    assert (counts["num_items_lost"], counts["num_kept_failing"]) == (1, 1)
    assert counts["kept_by_finding"] == {"A": [1, 2]}


def test_no_item_is_lost_where_the_best_is_kept(chain, judge, whole, tmp_path):
    flags = filter_flags(chain, judge, tmp_path / "best")
    sample_pairs.main([*flags, "--keep", "film-agrees", "--keep-best"])
    every = PairsFolder.open(tmp_path / "best")
    assert len(every) == 12
    failed = every.table["failed_tests"].fillna("")
    passed = every.table[failed == ""]
    assert passed["file_name"].tolist() == whole.table["file_name"].tolist()
    assert all(text.startswith("film-agrees (") for text in failed[failed != ""])
    kept = json.loads((every.root / "provenance.json").read_text())["kept"]
    assert (kept["num_items_lost"], kept["num_kept_failing"]) == (0, 12 - len(whole))
    rejected = pd.read_csv(every.root / "rejected.csv")
    assert len(rejected) == kept["num_rejected"] == kept["num_draws"] - 12
    # Of an item's draws none had fewer errors than the one that was kept.
    errors = rejected["reasons"].str.count(", ")
    for item in every.table["study_id"][failed != ""].str.removeprefix("synthetic-").astype(int):
        assert failed[item].count(", ") <= errors[rejected["item"] == item].min()


def test_kept_and_rejected_are_told(whole):
    rejected = pd.read_csv(whole.root / "rejected.csv")
    kept = json.loads((whole.root / "provenance.json").read_text())["kept"]
    lost = pd.read_csv(whole.root / "skipped.csv")
    tries = rejected.groupby("item")["try"].apply(list)
    assert 0 < len(whole) < 12  # else this tests little
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in tries)
    assert len(lost) == kept["num_items_lost"] == 12 - len(whole)
    assert lost["item"].tolist() == [f"synthetic-{i:08d}" for i in tries.index if len(tries[i]) == 3]
    assert set(lost["item"]).isdisjoint(whole.table["study_id"])
    again = [item for item, numbers in tries.items() if len(numbers) < 3]
    assert again  # a later draw passed
    assert kept["num_rejected"] == len(rejected)
    assert kept["num_draws"] == len(rejected) + len(whole)
    assert kept["share_kept"] == pytest.approx(len(whole) / kept["num_draws"])
    assert kept["share_first_kept"] == pytest.approx((12 - len(tries)) / 12)
    assert kept["rejected_by"] == {"film-agrees": len(rejected)}
    for name, (left, asked) in kept["kept_by_finding"].items():
        assert left == (whole.table[name] == 1).sum() <= asked <= 12
    assert sum(asked for _, asked in kept["kept_by_finding"].values()) > 0
    assert "passed tests" in (whole.root / "README.md").read_text()


def test_first_draws_are_those_of_an_unfiltered_run(judge, plain, whole):
    config = KeepConfig(("film-agrees",), classifier=judge, max_film_errors=MAX_ERRORS)
    failed = PairFilter(config).judge(load_pixels(plain.image_paths, 64), None, plain.labels)
    tried = set(pd.read_csv(whole.root / "rejected.csv")["item"])
    for item, name in enumerate(plain.table["file_name"]):
        assert bool(failed[item]) == (item in tried)
        if not failed[item]:
            assert (plain.root / name).read_bytes() == (whole.root / name).read_bytes()
    assert not any(PairFilter(config).judge(load_pixels(whole.image_paths, 64), None, whole.labels))


def test_items_alone_equal_items_of_a_run(sample, whole, tmp_path):
    some, some_lines = content(sample(tmp_path / "alone", num_pairs=6, start=5))
    every, lines = content(whole)
    assert all(every[name] == value for name, value in some.items())
    assert some_lines == {line for line in lines if int(line.split(",")[0]) in range(5, 11)}


@pytest.mark.slow
def test_shards_and_restarts_make_the_same_folder(chain, judge, sample, whole, tmp_path):
    out = tmp_path / "shards"
    sample_pairs.main([*filter_flags(chain, judge, out, shard="1/2"), "--keep", "film-agrees"])
    assert not (out / "metadata.csv").exists()
    assert content(sample(out, shard="0/2")) == content(whole)
    sorted(out.glob("images/*/*.png"))[0].unlink()  # a film that is gone is made again
    assert content(sample(out)) == content(whole)
    sample(tmp_path / "grown", num_pairs=5)
    assert content(sample(tmp_path / "grown")) == content(whole)


@pytest.mark.slow
def test_killed_run_goes_on(chain, judge, sample, whole, tmp_path):
    """SIGKILL between the films and the record of the second batch; the same command then completes."""
    out = tmp_path / "killed"
    script = f"""
import os, signal, sys
sys.path.insert(0, {os.getcwd()!r})
import runtime.ledger as ledger, sample_pairs
plain, calls = ledger.BlockLedger.write, []
def write(self, block, record):
    calls.append(block)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    plain(self, block, record)
ledger.BlockLedger.write = write
sample_pairs.main({[*filter_flags(chain, judge, out), "--keep", "film-agrees"]!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert content(sample(out)) == content(whole)


@pytest.mark.slow
def test_batch_size_changes_at_most_rounding(sample, whole, tmp_path):
    one = sample(tmp_path / "one", num_pairs=8, batch_size=1)
    lines, lines_of_one = content(whole)[1], content(one)[1]
    assert lines_of_one == {line for line in lines if int(line.split(",")[0]) < 8}
    for name in one.table["file_name"]:
        a, b = (read_pixels(pairs.root / name).astype(int) for pairs in (one, whole))
        assert np.abs(a - b).max() <= 1


def test_other_tests_are_refused(chain, sample, whole):
    with pytest.raises(ValueError, match=r"keep.max_film_errors = 6, now 3.*--overwrite"):
        sample(whole.root, max_film_errors=3)
    with pytest.raises(ValueError, match=r"was sampled with keep"):
        sample_pairs.main(chain.sample_flags(whole.root, num_pairs=12))


def test_the_evaluation_says_that_it_was_filtered(chain, plain, whole, tmp_path):
    from evaluation.__main__ import main as evaluate

    kept = json.loads((whole.root / "provenance.json").read_text())["kept"]
    said = f"Filtered by film-agrees: {len(whole)} of {kept['num_draws']} draws kept"
    names = {"filtered": whole.root, "plain": plain.root}
    for name, folder in names.items():
        flags = [
            "--real",
            chain.run("data"),
            "--synthetic",
            str(folder),
            "--out",
            str(tmp_path / f"r_{name}"),
        ]
        evaluate(["images", *flags, "--classifier", chain.run("classifier"), "--num-bootstrap", "20"])
        for file in ("results.md", "report.html"):
            assert (said in (tmp_path / f"r_{name}" / file).read_text()) == (name == "filtered")
    results = json.loads((tmp_path / "r_filtered" / "results.json").read_text())
    assert results["inputs"]["films"]["kept"]["share_kept"] == pytest.approx(kept["share_kept"])
    folders = [f"{name}={tmp_path / f'r_{name}'}" for name in names]
    evaluate(["summary", *folders, "--out", str(tmp_path / "table.md")])
    table = (tmp_path / "table.md").read_text()
    assert "| filtered (filtered) |" in table
    assert "| plain |" in table


def test_findings_that_are_mostly_lost_are_warned_of(tmp_path, capsys):
    counts = {"Fracture": [1, 6], "Edema": [3, 6], "Lung Lesion": [0, 4]}
    kept = {
        **count_rejected({0: [], 1: ["consistent (side)"]}, {0: [], 1: []}, {0: False}),
        "kept_by_finding": counts,
    }
    (tmp_path / "provenance.json").write_text(json.dumps({"kept": kept}))
    warn_of_lost(tmp_path)
    warning = capsys.readouterr().err
    assert "less than half of the items that ask for Fracture (1 of 6):" in warning
    assert "Edema" not in warning
    assert kept["share_kept"] == 0.5
    (tmp_path / "provenance.json").write_text("{}")
    warn_of_lost(tmp_path)
    assert not capsys.readouterr().err


def test_weak_findings_are_warned_of(chain, tmp_path, capsys):
    scores = {"Fracture": 0.55, "Pleural Effusion": 0.95, "Edema": 0.6, "Lung Lesion": None}
    results = {"films": {"auroc_per_finding": scores}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    asked = np.full((2, 14), np.nan, np.float32)
    asked[:, [FRACTURE, EFFUSION, FINDINGS.index("Lung Lesion")]] = 1.0
    assert find_weak(asked, tmp_path) == {"Fracture": 0.55}
    flags = chain.sample_flags(tmp_path / "out", prompt="Rib fractures.", results=tmp_path, num_pairs=1)
    sample_pairs.main([*flags, "--films-only", "--no-reference"])
    assert "drawn badly by this generator: Fracture (AUROC 0.55)" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"no results\.json"):
        find_weak(asked, tmp_path / "out")
    (tmp_path / "results.json").write_text('{"reports": {}}')
    with pytest.raises(ValueError, match="holds no AUROC"):
        find_weak(asked, tmp_path)


@pytest.mark.parametrize(
    ("flags", "keep", "message"),
    [
        ({"max_tries": 0}, ["consistent"], r"--max-tries 0: must be at least 1"),
        ({"classifier": "no/such"}, ["film-agrees"], r"--classifier no/such"),
        ({}, ["film_agrees"], r"film_agrees"),
        ({"max_film_errors": 0}, ["film-agrees"], r"none of 2 items passed.*rejected.csv"),
    ],
)
def test_bad_input_is_named(sample, tmp_path, capsys, flags, keep, message):
    with pytest.raises((ValueError, SystemExit)) as error:
        sample(tmp_path / "out", keep, **{"num_pairs": 2, "batch_size": 2, **flags})
    printed = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert re.search(message, f"{error.value} {printed}")


def test_reports_and_training_films_must_be_there(chain, tmp_path):
    flags = chain.sample_flags(tmp_path / "out", num_pairs=2, classifier=chain.run("classifier"))
    with pytest.raises(ValueError, match="need reports: leave out --films-only"):
        sample_pairs.main([*flags, "--films-only", "--keep", "consistent"])
    nothing = chain.sample_flags(
        tmp_path / "out",
        num_pairs=2,
        data=tmp_path / "none",
        prompt="Edema.",
        classifier=chain.run("classifier"),
    )
    with pytest.raises(ValueError, match="need --data"):
        sample_pairs.main([*nothing, "--keep", "not-a-copy"])
