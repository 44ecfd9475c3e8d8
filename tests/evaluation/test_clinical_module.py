"""Our clinical F1 as a module that `evaluate.load` takes, without a network."""

from pathlib import Path

import pytest

from data_module.labeler import label_reports
from evaluation.statistics.findings import score_conventions

evaluate = pytest.importorskip("evaluate")
FOLDER = Path(__file__).resolve().parents[2] / "evaluation" / "clinical_f1"
REFERENCES = ["There is a left pleural effusion.", "Possible edema. Cardiomegaly.", "Clear lungs."]
REPORTS = ["Effusion on the left.", "Edema. The heart is normal.", "Clear lungs. Rib fracture."]


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        yield evaluate.load(str(FOLDER), cache_dir=str(tmp_path_factory.mktemp("metrics")))


@pytest.mark.parametrize("uncertain", ["negative", "positive", "ignore"])
def test_equals_the_suite(metric, uncertain):
    found = metric.compute(predictions=REPORTS, references=REFERENCES, uncertain=uncertain)
    assert found == score_conventions(label_reports(REFERENCES), label_reports(REPORTS))[uncertain]
    assert 0.0 < found["micro_f1_14"] < 1.0


def test_conventions_differ_here(metric):
    values = {
        uncertain: metric.compute(predictions=REPORTS, references=REFERENCES, uncertain=uncertain)[
            "micro_f1_14"
        ]
        for uncertain in ("negative", "positive", "ignore")
    }
    # "Possible edema" against "Edema": a miss, a hit, and left out.
    assert values["negative"] < values["ignore"] < values["positive"]
    with pytest.raises(ValueError, match="choose one of"):
        metric.compute(predictions=REPORTS, references=REFERENCES, uncertain="maybe")
