"""python -m evaluation, end to end on tiny folders with a tiny stock classifier."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.scored_folders import REPORTS, write_random_pairs, write_scored_folders
from PIL import Image

from data_module.findings import FINDINGS
from data_module.pairs import write_pairs
from evaluation.__main__ import main
from evaluation.metric import all_metrics, look_up
from vision_module.classifier import build_classifier, save_classifier
from vision_module.config import ResNetSize

PROMISED = (
    "films.auroc_mean",
    "films.auroc_mean_real",
    "films.fid",
    "films.fid_floor",
    "films.kid",
    "films.kid_floor",
    "reports.micro_f1_14",
    "pairs.report_vs_prompt_micro_f1_14",
    "pairs.film_report_agreement",
    "pairs.film_report_agreement_real",
)


@pytest.fixture
def folders(tmp_path):
    """Folders of a whole evaluation; synthetic/heldout_reports.csv repeats the real reports."""
    return write_scored_folders(tmp_path)


def _flags(root: Path, *more: str) -> list[str]:
    flags = ["--real", str(root / "real"), "--synthetic", str(root / "synthetic")]
    flags += ["--classifier", str(root / "run"), "--out", str(root / "out"), "--num-bootstrap", "50"]
    return [*flags, *more]


def _results(root: Path) -> dict:
    return json.loads((root / "out/results.json").read_text())


def _get(results: dict, key: str):
    for part in key.split("."):
        results = results[part]
    return results


def test_all_writes_every_promised_number(folders, capsys):
    main(["all", *_flags(folders)])
    results = _results(folders)
    for key in PROMISED:
        assert isinstance(_get(results, key), float), key
    assert results["reports"]["micro_f1_14"] == 1.0
    assert results["reports"]["bleu_4"] == pytest.approx(1.0, abs=1e-6)
    assert results["reports"]["num_scored"] == 24
    assert results["pairs"]["report_vs_prompt_micro_f1_14"] == 1.0
    assert results["films"]["num_fidelity"] == 21
    assert results["films"]["auroc_findings"] == [name for name in FINDINGS if name in REPORTS]
    assert "one class only" in results["films"]["auroc_skipped"]["Edema"]
    assert results["conventions"]["films.fid"]
    assert results["inputs"]["films"]["classifier_hash"]
    assert results["versions"]["torch"]
    printed, page = capsys.readouterr().out, (folders / "out/results.md").read_text()
    for text in (printed, page):
        assert "| FID |" in text
        assert "| BLEU-4 |" in text
        assert "| film against report, micro-F1 |" in text
    with Image.open(folders / "out/auroc.png") as picture:
        assert picture.size[0] > 500


def test_the_same_command_gives_the_same_results_and_uses_the_cache(folders):
    main(["images", *_flags(folders)])
    first = _results(folders)
    entries = {path: path.stat().st_mtime_ns for path in (folders / "out/cache").iterdir()}
    assert len(entries) == 3  # synthetic, real, and the floor's films
    main(["images", *_flags(folders, "--batch-size", "5")])
    assert _results(folders) == first
    assert {path: path.stat().st_mtime_ns for path in (folders / "out/cache").iterdir()} == entries


def test_commands_merge_into_one_file_and_drop_what_is_stale(folders, capsys):
    main(["images", *_flags(folders)])
    films = _results(folders)["films"]
    main(["reports", *_flags(folders)])
    merged = _results(folders)
    assert merged["films"] == films
    assert merged["reports"]["micro_f1_14"] == 1.0
    assert "pairs" not in merged
    table = pd.read_csv(folders / "synthetic/metadata.csv")
    table["report"] = "Clear lungs."
    table.to_csv(folders / "synthetic/metadata.csv", index=False)
    main(["pairs", *_flags(folders)])
    assert "films was scored on other data" in capsys.readouterr().err
    assert set(_results(folders)) & {"films", "reports", "pairs"} == {"pairs"}


def test_all_without_heldout_reports_says_so_and_leaves_nulls(folders, capsys):
    (folders / "synthetic/heldout_reports.csv").unlink()
    main(["all", *_flags(folders)])
    results = _results(folders)
    assert results["reports"]["micro_f1_14"] is None
    assert "heldout_reports.csv" in results["reports"]["note"]
    assert "heldout_reports.csv" in capsys.readouterr().err
    assert isinstance(results["films"]["fid"], float)
    with pytest.raises(ValueError, match=r"heldout_reports\.csv: no such file"):
        main(["reports", *_flags(folders)])
    with pytest.raises(ValueError, match=r"absent\.csv: no such file"):
        main(["all", *_flags(folders, "--reports", str(folders / "absent.csv"))])


def test_a_corrupt_film_is_counted_and_named(folders):
    path = folders / "synthetic/images/4.png"
    path.write_bytes(path.read_bytes()[:200])
    (folders / "real/images/2.png").unlink()  # split test
    main(["images", *_flags(folders)])
    films = _results(folders)["films"]
    assert films["num_unreadable_synthetic"] == films["num_unreadable_real"] == 1
    assert list(films["unreadable_synthetic"]) == ["images/4.png"]
    assert "no such file" in films["unreadable_real"]["images/2.png"]
    assert films["num_fidelity"] == 20
    main(["pairs", *_flags(folders)])
    assert _results(folders)["pairs"]["num_readable"] == 20


def test_order_of_columns_and_rows_does_not_matter(folders):
    main(["all", *_flags(folders)])
    before = _results(folders)
    rng = np.random.default_rng(0)
    for name in ("real", "synthetic"):
        path = folders / name / "metadata.csv"
        table = pd.read_csv(path)
        table[list(rng.permutation(table.columns))].to_csv(path, index=False)
    reports = pd.read_csv(folders / "synthetic/heldout_reports.csv")
    reports.sample(frac=1.0, random_state=0).to_csv(folders / "synthetic/heldout_reports.csv", index=False)
    main(["all", *_flags(folders)])
    after = _results(folders)
    for section in ("films", "reports", "pairs"):
        assert after[section] == before[section]


def test_a_folder_of_one_split_takes_its_floor_from_two_halves(folders):
    write_random_pairs(folders / "one", 40, 3, ("test",))
    main(["images", *_flags(folders), "--real", str(folders / "one")])
    films = _results(folders)["films"]
    assert "two halves" in films["floor"]
    assert films["num_fidelity"] == 20
    assert films["fid_floor"] > 0.0


def test_synthetic_films_without_findings_have_no_auroc(folders):
    write_random_pairs(folders / "plain", 12, 4, ("test",), **dict.fromkeys((*REPORTS, "Edema")))
    main(["images", *_flags(folders), "--synthetic", str(folders / "plain")])
    films = _results(folders)["films"]
    assert films["auroc_mean"] is None
    assert films["auroc_mean_real"] is None
    assert len(films["auroc_skipped"]) == 14
    assert films["num_fidelity"] == 12


def test_text_only_folders_score_reports_but_no_films(folders):
    rows = [
        {"file_name": "", "report": text, "patient_id": f"p{n}", "study_id": f"s{n}", "split": "test"}
        for n, text in enumerate(REPORTS.values())
    ]
    write_pairs(folders / "text", rows, {}, "# test")
    made = pd.DataFrame(
        {"study_id": ["s1", "s0"], "report": [REPORTS["Pneumothorax"], REPORTS["Cardiomegaly"]]}
    )
    made.to_csv(folders / "made.csv", index=False)
    flags = ["--real", str(folders / "text"), "--out", str(folders / "out")]
    main(["reports", *flags, "--reports", str(folders / "made.csv")])
    reports = _results(folders)["reports"]
    assert reports["num_scored"] == 2
    assert reports["micro_f1_14"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="text-only"):
        main(["images", *_flags(folders), "--real", str(folders / "text")])


def test_privacy_takes_a_network_of_its_own(folders):
    """--reidentify in the place of the first network, also where no other is named."""
    torch.manual_seed(1)
    model = build_classifier(ResNetSize(8, (8, 12), (1, 1))).eval()
    save_classifier(model, folders / "other", 32, {})
    flags = ["--real", folders / "real", "--synthetic", folders / "synthetic", "--num-bootstrap", "20"]
    networks = {"first": ["--classifier", "run"], "own": ["--classifier", "run", "--reidentify", "other"]}
    networks["alone"] = ["--reidentify", "other"]
    medians = {}
    for name, given in networks.items():
        paths = [part if part.startswith("--") else str(folders / part) for part in given]
        main(["privacy", *map(str, flags), *paths, "--out", str(folders / name)])
        found = json.loads((folders / name / "results.json").read_text())
        assert found["privacy"]["extractor"]["source"] == paths[-1]
        medians[name] = found["privacy"]["features"]["median"]
        assert ("reidentify_hash" in found["inputs"]["privacy"]) == (name != "first")
    assert medians["own"] == medians["alone"] != medians["first"]


@pytest.mark.parametrize("command", ["images", "reports", "pairs", "privacy", "all"])
def test_dry_run_needs_no_folder(command, capsys):
    main([command, "--real", "a", "--synthetic", "b", "--classifier", "c", "--out", "d", "--dry-run"])
    assert json.loads(capsys.readouterr().out)["classifier"] == "c"
    assert not Path("d").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--real", "nowhere"], "nowhere is not a pairs folder"),
        (["--split", "validation"], "no row of split 'validation'"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--classifier", "nowhere"], "--classifier nowhere"),
        (["--labeler", "chexbert:nowhere.pth"], "--labeler chexbert:nowhere.pth: no such file"),
        (["--labeler", "guess"], "--labeler guess: choose rules or chexbert:FILE"),
    ],
)
def test_bad_flags_are_named(folders, change, message):
    with pytest.raises(ValueError, match=message):
        main(["reports" if "--labeler" in change else "images", *_flags(folders), *change])


def test_missing_flags_are_named(folders):
    flags = ["--real", str(folders / "real"), "--out", str(folders / "out")]
    with pytest.raises(ValueError, match="--synthetic is missing"):
        main(["all", *flags, "--classifier", str(folders / "run")])
    with pytest.raises(ValueError, match="--classifier is missing"):
        main(["images", *flags, "--synthetic", str(folders / "synthetic")])


def test_the_guidance_curve_takes_in_the_run_and_others(folders):
    record = {"config": {"guidance_scale": 2.0}}
    (folders / "synthetic/provenance.json").write_text(json.dumps(record))
    main(["images", *_flags(folders), "--out", str(folders / "first")])
    record["config"]["guidance_scale"] = 5.0
    (folders / "synthetic/provenance.json").write_text(json.dumps(record))
    main(["images", *_flags(folders, "--guidance", str(folders / "first"), str(folders / "out"))])
    points = _results(folders)["films"]["guidance"]
    assert [point["scale"] for point in points] == [2.0, 5.0]
    assert points[0]["fid"] == points[1]["fid"] == _results(folders)["films"]["fid"]
    page = (folders / "out/report.html").read_text()
    assert "AUROC and FID over the guidance scale" in page
    assert "| all noise levels | 5 | 21 |" in (folders / "out/results.md").read_text()


def test_label_keeps_the_table_and_adds_the_findings(folders):
    path, out = folders / "in.csv", folders / "labeled.csv"
    pd.DataFrame({"id": ["007", "b"], "report": list(REPORTS.values())[:2]}).to_csv(path, index=False)
    main(["label", "--reports", str(path), "--out", str(out)])
    table = pd.read_csv(out, dtype={"id": str})
    assert list(table["id"]) == ["007", "b"]
    assert set(FINDINGS) <= set(table.columns)
    assert table["Pleural Effusion"].tolist()[1] == 1


@pytest.mark.parametrize("fault", ["input", "disk"])
def test_errors_have_no_traceback_and_exit_code_2(tmp_path, fault):
    reports, out = tmp_path / "reports.csv", tmp_path / "out.csv"
    if fault == "disk":  # what a full or read-only disk raises: an OSError while writing
        reports.write_text("report\nClear lungs.\n")
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "out.csv"
    command = [sys.executable, "-m", "evaluation", "label", "--reports", str(reports), "--out", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2], check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert ("reports.csv" if fault == "input" else "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_needs_no_other_file(folders):
    """One file, nothing fetched, no script."""
    main(["all", *_flags(folders), "--format", "pdf"])
    page = (folders / "out/report.html").read_text()
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([a-z]+:|#)', page)) <= {"data:", "#"}
    assert not re.search(r'(?:src|href)="https?:|url\(http|@import', page)
    assert page.count("<svg") >= 3
    assert page.count("data:image/jpeg;base64,") >= 24
    for text in ("Privacy", "How these figures are counted", "films.fid", FINDINGS[2], 'name="viewport"'):
        assert text in page
    assert page.index('class="verdict"') < page.index('<h2 id="films"'), "the verdict stands on top"
    assert "<details open" not in page
    for name in ("auroc", "curves", "distances"):
        text = (folders / f"out/plots/{name}.svg").read_text()
        assert text.startswith("<svg")
        assert (folders / f"out/plots/{name}.pdf").read_bytes().startswith(b"%PDF")
    assert all(name in (folders / "out/plots/curves.svg").read_text() for name in FINDINGS)
    results = json.loads((folders / "out/results.json").read_text())
    assert results["privacy"]["num_training"] == 24
    _check_intervals_and_conventions(results)
    _check_documented(results)


def _check_intervals_and_conventions(results: dict) -> None:
    """Every figure has an interval that holds it, and a convention of its own."""
    seen = 0
    for metric in all_metrics():
        assert results["conventions"][metric.name] == metric.convention
        value = look_up(results[metric.section], metric.key)
        if value is None or metric.interval == "none":
            continue
        low, high = results[metric.section]["intervals"][metric.key]
        assert low - 1e-9 <= value <= high + 1e-9, metric.name
        seen += 1
    assert seen > 40


def _check_documented(results: dict) -> None:
    """Every key of every section stands in docs/results_schema.md, by its own name or by its family's."""
    schema = (Path(__file__).resolve().parents[2] / "docs/results_schema.md").read_text()
    asked_for = {metric.key for metric in all_metrics() if metric.flag}
    asked_for |= {
        "controls",
        "guidance",
        "num_texts_cut",
        "retrieval",
        "share_temporal_real",
        "inverse_radcliq",
        *("ratescore_before_0_6", "num_without_entities"),
        *("num_green_unread", "green_matched", "green_errors", "num_crimson_unread", "crimson_errors"),
    }
    for section in ("films", "reports", "pairs", "privacy"):
        told = schema.split(f"## {section}\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| (`.*?) \|", told, re.M)
        names = {name.replace("_X", "_real") for row in rows for name in re.findall(r"`(\w+)`", row)}
        absent = {name for name in names - asked_for if not name.startswith("clip_")} - set(results[section])
        assert not absent, f"{section}: documented, and not written: {absent}"
    assert set(results) <= {*re.findall(r"`(\w+)`", schema)}
    for section in ("films", "reports", "pairs", "privacy"):
        for key in results[section]:
            base = re.sub(r"(_real|_floor|_shuffled|_synthetic)+(_std)?$", "", key)
            base = re.sub(r"^(auroc|average_precision|ece)_per_finding$", "per_finding", base)
            family = "_".join(base.split("_")[:3])
            assert f"`{base}" in schema or f"`{family}" in schema, f"{section}.{key}"
