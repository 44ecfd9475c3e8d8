"""The table of report systems: its bootstrap, and sides and severities by the demo's own wording."""

import json

import numpy as np
import pandas as pd
import pytest

import compare_reports
from data_module.demo.report import write_report
from data_module.demo.source import write_demo
from data_module.demo.study import get_study
from data_module.findings import POSITIVE
from data_module.labeler.attributes import count_right, read_attributes
from data_module.pairs import PairsFolder
from evaluation.output.report_table import bootstrap_f1, count_by_patient
from evaluation.statistics.findings import score_f1


def test_attributes_are_the_studies_facts():
    """400 demo reports against the facts that they were written from."""
    for index in range(400):
        study = get_study(7, index)
        said = read_attributes(write_report(study).text)
        signs = {sign.finding: sign for sign in study.signs if sign.certainty == POSITIVE}
        signs.pop("Support Devices", None)
        assert said.keys() == signs.keys(), index
        for finding, sign in signs.items():
            for name, value in said[finding].items():
                assert value == sign.facts()[name], (index, finding, name)
            if sign.side and finding != "Edema":  # which is on both sides without a word
                assert "side" in said[finding], (index, finding)


def test_count_right():
    real = ["Large left pleural effusion. Mild edema.", "The heart is severely enlarged.", "No pneumothorax."]
    written = ["Small left pleural effusion.", "Severe cardiomegaly.", "Large right pneumothorax."]
    assert count_right(real, written, "side") == (1, 1)
    assert count_right(real, written, "severity") == (1, 2)
    assert count_right(real, ["Pleural effusion.", "", ""], "side") == (0, 1)  # left out is wrong


def test_bootstrap_counts_patients():
    rng = np.random.default_rng(0)
    truth, guess = (np.where(rng.random((40, 14)) < 0.3, 1.0, 0.0) for _ in range(2))
    patients = np.repeat(np.arange(10), 4)
    counts = count_by_patient(truth, guess, patients)
    whole = bootstrap_f1(counts, np.ones((1, 10), int))
    assert whole[0] == pytest.approx(score_f1(truth, guess)["micro_f1_14"])
    # A draw of the first patient twice and nobody else is that patient's own score.
    draw = np.eye(10, dtype=int)[:1] * 2
    own = score_f1(truth[:4], guess[:4])["micro_f1_14"]
    assert bootstrap_f1(counts, draw)[0] == pytest.approx(own)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare") / "data"
    write_demo(root, num_studies=80, size=32, num_workers=1)
    return root


def test_table(data, tmp_path, capsys):
    rows = PairsFolder.open(data).split("test").table
    tables = {"exact": rows["report"].tolist(), "normal": ["IMPRESSION: No acute disease."] * len(rows)}
    for name, reports in tables.items():
        table = pd.DataFrame({"file_name": rows["file_name"], "report": reports})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    flags = ["--real", str(data), "--reports", *(f"{name}={tmp_path}/{name}.csv" for name in tables)]
    compare_reports.main([*flags, "--against", "normal", "--out", f"{tmp_path}/table.md"])
    scores = json.loads((tmp_path / "table.json").read_text())
    assert scores["exact"]["micro_f1_14"] == 1.0
    assert scores["exact"]["micro_f1_14_interval"] == [1.0, 1.0]
    assert scores["exact"]["bleu_4"] == pytest.approx(1.0)
    assert scores["exact"]["side_right"][0] == scores["exact"]["side_right"][1] > 0
    assert scores["normal"]["share_normal"] == 1.0
    assert scores["normal"]["distinct_per_1000"] == pytest.approx(1000 / len(rows))
    low, high = scores["normal"]["micro_f1_14_interval"]
    assert low <= scores["normal"]["micro_f1_14"] <= high < 1.0
    gain, low, high = scores["exact"]["gain"]
    assert low <= gain <= high
    assert gain > 0
    assert "| exact | 1.000 [1.000, 1.000] | +" in capsys.readouterr().out

    # Held against one that finds nothing: no ratio, and a file that any reader takes.
    nothing = pd.DataFrame({"file_name": rows["file_name"], "report": "IMPRESSION: Mild scoliosis."})
    nothing.to_csv(tmp_path / "nothing.csv", index=False)
    more = ["--reports", f"exact={tmp_path}/exact.csv", f"nothing={tmp_path}/nothing.csv"]
    compare_reports.main(["--real", str(data), *more, "--against", "nothing", "--out", f"{tmp_path}/none.md"])
    scores = json.loads((tmp_path / "none.json").read_text(), parse_constant=pytest.fail)
    assert scores["nothing"]["micro_f1_14"] == 0.0
    assert "gain" not in scores["exact"]

    short = pd.read_csv(tmp_path / "exact.csv").head(2)
    short.to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(ValueError, match=f"2 of the {len(rows)} rows"):
        compare_reports.main(["--real", str(data), "--reports", f"a={tmp_path}/short.csv"])
    with pytest.raises(ValueError, match="--against b"):
        compare_reports.main(["--real", str(data), "--reports", "a=x.csv", "--against", "b"])
    with pytest.raises(ValueError, match="NAME=FILE"):
        compare_reports.main(["--real", str(data), "--reports", "x.csv"])
