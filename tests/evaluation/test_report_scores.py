"""Clinical F1 by hand, word overlap against a naive BLEU, matching of generated reports by name."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from data_module.findings import FINDINGS
from data_module.pairs import write_pairs
from data_module.sections import join_sections, split_sections
from evaluation.inputs.rows import match_reports
from evaluation.reports.overlap import normalize, score_text
from evaluation.reports.section import evaluate_reports
from evaluation.reports.variety import describe_texts, most_frequent_report, share_normal
from evaluation.statistics.findings import score_conventions, score_f1, tune_thresholds

EDEMA, EFFUSION, FRACTURE = (FINDINGS.index(n) for n in ("Edema", "Pleural Effusion", "Fracture"))


def _label(texts):
    """A tiny labeler of its own: a finding is positive where its name stands."""
    return np.array(
        [[1.0 if name.lower() in text.lower() else np.nan for name in FINDINGS] for text in texts]
    )


def _array(*rows: dict[int, float]) -> np.ndarray:
    labels = np.full((len(rows), 14), np.nan, np.float32)
    for number, row in enumerate(rows):
        for column, code in row.items():
            labels[number, column] = code
    return labels


def test_f1_by_hand():
    reference = _array({EDEMA: 1, FRACTURE: 1}, {EDEMA: 1, EFFUSION: -1}, {EDEMA: 0, EFFUSION: 1})
    hypothesis = _array({EDEMA: 1}, {EDEMA: -1, EFFUSION: 1}, {EDEMA: 1, EFFUSION: 1})
    result = score_f1(reference, hypothesis)
    # Edema: 1 hit, 1 false, 1 missed; Effusion: 1 hit, 1 false; Fracture: 1 missed.
    assert result["per_finding"]["Edema"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert result["per_finding"]["Pleural Effusion"]["f1"] == pytest.approx(2 / 3)
    assert result["per_finding"]["Fracture"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert result["micro_f1_14"] == pytest.approx(2 * 2 / (4 + 4))
    assert result["macro_f1_14"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert result["micro_f1_5"] == pytest.approx(4 / 7)
    assert result["macro_f1_5"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert len(result["undefined"]) == 11


def test_f1_by_hand_under_each_convention():
    reference = _array({EDEMA: 1, FRACTURE: -1}, {EDEMA: -1, EFFUSION: 1}, {EDEMA: 0})
    hypothesis = _array({EDEMA: -1, FRACTURE: 1}, {EDEMA: 1, EFFUSION: 1}, {})
    found = score_conventions(reference, hypothesis)
    # Negative: Edema one missed, one false; Fracture one false; Effusion one hit.
    assert found["negative"]["micro_precision_14"] == pytest.approx(1 / 3)
    assert found["negative"]["micro_recall_14"] == pytest.approx(1 / 2)
    assert found["negative"]["macro_f1_14"] == pytest.approx((0 + 0 + 1) / 3)
    assert found["negative"]["example_f1_14"] == pytest.approx((0 + 2 / 3) / 2)  # the third names nothing
    assert found["negative"]["micro_f1_5"] == pytest.approx(2 / 4)
    # Positive: four hits, nothing missed.
    assert found["positive"]["micro_f1_14"] == found["positive"]["example_f1_14"] == 1.0
    # Ignored: the effusion is all that both are sure of.
    assert found["ignore"]["micro_f1_14"] == found["ignore"]["macro_recall_5"] == 1.0
    assert score_conventions(_array({}), _array({EDEMA: -1}))["ignore"]["micro_f1_14"] is None


def test_label_order_never_matters():
    """Findings are matched by name: permuting the columns of both sides changes no average over all 14."""
    rng = np.random.default_rng(0)
    labels = rng.choice([1.0, 0.0, -1.0, np.nan], size=(2, 40, 14))
    order = rng.permutation(14)
    before, after = score_conventions(*labels), score_conventions(*labels[:, :, order])
    for policy in before:
        for name in (n for n in before[policy] if n.endswith("_14")):
            assert after[policy][name] == pytest.approx(before[policy][name])


def test_perfect_agreement_is_one_and_nothing_positive_is_none():
    labels = _array({EDEMA: 1}, {FRACTURE: 1, EDEMA: -1}, {})
    assert score_f1(labels, labels)["micro_f1_14"] == 1.0
    assert score_f1(labels, labels)["macro_f1_14"] == 1.0
    empty = score_f1(_array({EDEMA: 0}), _array({EDEMA: -1}))
    assert empty["micro_f1_14"] is None
    assert empty["macro_f1_5"] is None


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="14"):
        score_f1(np.zeros((3, 13)), np.zeros((3, 13)))
    with pytest.raises(ValueError, match="no row"):
        score_f1(np.zeros((0, 14)), np.zeros((0, 14)))


def test_tuned_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    labels = (rng.random((80, 14)) < 0.3).astype(np.float32)
    labels[:, EDEMA] = 0.0
    probabilities = np.round(np.clip(0.3 * labels + rng.random((80, 14)) * 0.7, 0, 1), 2).astype(np.float32)
    thresholds = tune_thresholds(labels, probabilities)
    assert "Edema" not in thresholds

    def f1(column, limit):
        guess, truth = probabilities[:, column] >= limit, labels[:, column] == 1
        return 2 * (guess & truth).sum() / (guess.sum() + truth.sum())

    for name, limit in thresholds.items():
        column = FINDINGS.index(name)
        assert f1(column, limit) == max(f1(column, value) for value in np.unique(probabilities[:, column]))


def _bleu(references: list[str], hypotheses: list[str], order: int) -> float:
    """Corpus BLEU by its definition (Papineni et al., 2002)."""
    logs = 0.0
    for n in range(1, order + 1):
        hits = total = 0
        for reference, hypothesis in zip(references, hypotheses, strict=True):
            grams = [
                Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
                for words in (reference.split(), hypothesis.split())
            ]
            hits += sum((grams[0] & grams[1]).values())
            total += sum(grams[1].values())
        logs += math.log(hits / total) / order
    lengths = [sum(len(text.split()) for text in texts) for texts in (references, hypotheses)]
    return math.exp(logs + min(0.0, 1.0 - lengths[0] / lengths[1]))


def test_bleu_equals_its_definition():
    references = ["the heart is normal in size and shape", "no pleural effusion or pneumothorax is seen"]
    hypotheses = ["the heart is normal in size", "no pleural effusion is seen today at all"]
    scores = score_text(references, hypotheses)
    for order in (1, 2, 3):
        assert scores[f"bleu_{order}"] == pytest.approx(_bleu(references, hypotheses, order), rel=1e-6)


def test_rouge_l_by_hand():
    # Longest common subsequence "the heart normal": 3 of 4 and 3 of 5 words, beta 1.2.
    precision, recall = 3 / 4, 3 / 5
    expected = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert score_text(["the heart is quite normal"], ["the heart looks normal"])["rouge_l"] == pytest.approx(
        expected
    )


def test_the_same_text_scores_one_whatever_its_case_and_punctuation():
    references = ["Heart size is normal.", "No pleural effusion, 2.5 cm nodule.", "Right-sided   chest tube."]
    hypotheses = ["heart size is normal", "no pleural effusion 2.5 cm nodule", "RIGHT-SIDED chest tube!"]
    scores = score_text(references, hypotheses)
    assert scores["bleu_4"] == pytest.approx(1.0, abs=1e-6)
    assert scores["rouge_l"] == pytest.approx(1.0)
    assert 0.0 < scores["cider"] <= 10.0 + 1e-9
    assert normalize("Right-sided tube; 2.5 cm.\nPatient's_left") == "right-sided tube 2.5 cm patient's left"


def test_empty_reports_score_zero_and_do_not_crash():
    scores = score_text(["heart is normal", "lungs are clear"], ["", ""])
    assert all(value == pytest.approx(0.0, abs=1e-6) for value in scores.values())
    with pytest.raises(ValueError, match="no reference"):
        score_text(["...", ""], ["a", "b"])
    with pytest.raises(ValueError, match="as many"):
        score_text(["a"], [])


def test_text_descriptions():
    described = describe_texts(["Lungs clear.", "lungs  clear", "edema"])
    assert described["num_distinct_reports"] == 2
    assert described["share_most_frequent"] == pytest.approx(2 / 3)
    assert most_frequent_report(["edema", "Lungs clear.", "lungs clear"]) == "Lungs clear."
    labels = _array({EDEMA: 1}, {FINDINGS.index("No Finding"): 1, FINDINGS.index("Support Devices"): 1}, {})
    assert share_normal(labels) == pytest.approx(2 / 3)


def test_reports_section_and_its_baseline():
    references = ["There is edema.", "Pleural effusion and edema.", "Fracture of a rib."]
    result, items = evaluate_reports(
        references, references, _label, ["Edema again.", "Edema again.", "Clear."]
    )
    assert result["micro_f1_14"] == result["macro_f1_14"] == 1.0
    # "Edema again." for all: 2 hits of 3 said and 4 true.
    assert result["baseline"]["micro_f1_14"] == pytest.approx(2 * 2 / 7)
    assert result["typical"]["bleu_1"] < result["bleu_1"]
    assert "remarks" not in result
    assert result["num_distinct_reports"] == 3
    assert result["clinical"]["negative"]["micro_f1_14"] == result["micro_f1_14"]
    assert items["truth"].shape == (3, 14)
    assert items["score_rouge_l"].mean() == pytest.approx(result["rouge_l"])


def test_one_report_for_every_film_may_have_more_words_right():
    """The floor of words is the training report that shares most with all, here the second one; who reads the
    films and writes in words of their own is told that BLEU does not show it."""
    normal = "The heart is normal in size and the lungs are clear."
    references = [normal, f"{normal} There is edema."]
    train = ["Words of its own.", normal, "Words of its own.", f"{normal} There is a fracture.", normal[:30]]
    hypotheses = ["No disease of heart or lungs.", "Fluid in both lungs: edema."]
    result, _ = evaluate_reports(references, hypotheses, _label, train)
    floor = score_text(references, [normal] * 2)
    assert result["typical"] == pytest.approx({key: floor[key] for key in result["typical"]})
    assert set(result["typical"]) == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"}
    assert result["typical"]["bleu_4"] > 0.5 > result["bleu_4"]
    assert [f"BLEU-4, {result['typical']['bleu_4']:.3f}" in text for text in result["remarks"]] == [True]
    alone, _ = evaluate_reports(references, references, _label)
    assert alone["typical"] == pytest.approx(score_text(references, [references[1]] * 2))  # of the references


def _folder(root, text_only: bool = False):
    rows = [
        {
            "file_name": "" if text_only else f"images/{number}.png",
            "report": f"report {number}",
            "patient_id": f"p{number}",
            "study_id": f"s{number}",
            "split": split,
        }
        for number, split in enumerate(("train", "test", "test", "test"))
    ]
    return write_pairs(root, rows, {}, "# test")


def test_generated_reports_are_matched_by_name(tmp_path):
    real = _folder(tmp_path / "real")
    path = tmp_path / "made.csv"
    rows = [
        ("images/3.png", "third"),
        ("images/0.png", "trained on"),
        ("images/1.png", ""),
        ("else.png", "x"),
    ]
    pd.DataFrame([(text, name) for name, text in rows], columns=["report", "file_name"]).to_csv(
        path, index=False
    )
    matched = match_reports(path, real, "test")
    assert matched.references == ["report 1", "report 3"]
    assert matched.hypotheses == ["", "third"]
    assert matched.counts == {
        "num_scored": 2,
        "num_rows_of_split": 3,
        "num_outside_split": 1,
        "num_unknown": 1,
        "num_empty_reports": 1,
    }


def test_text_only_folders_are_matched_by_study(tmp_path):
    real = _folder(tmp_path / "real", text_only=True)
    path = tmp_path / "made.csv"
    pd.DataFrame({"study_id": ["s2", "s1"], "report": ["two", "one"]}).to_csv(path, index=False)
    assert match_reports(path, real, "test").hypotheses == ["one", "two"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no such file"),
        ({"file_name": ["images/1.png"], "a": ["x"], "b": ["x"]}, "columns file_name and report"),
        ({"file_name": ["images/1.png"] * 2, "report": ["x", "y"]}, "more than one row"),
        ({"file_name": ["other.png"], "report": ["x"]}, "no file_name of"),
        ({"file_name": ["images/0.png"], "report": ["x"]}, "no file_name of"),
    ],
)
def test_bad_report_tables_are_named(tmp_path, table, message):
    path = tmp_path / "made.csv"
    if table is not None:
        pd.DataFrame(table).to_csv(path, index=False)
    with pytest.raises(ValueError, match=message) as caught:
        match_reports(path, _folder(tmp_path / "real"), "test")
    assert "made.csv" in str(caught.value)


SOURCES = (
    "Heart is normal. No effusion.",
    "Findings: Lungs are clear.\nConclusion: Normal chest.",
    "INDICATION: Cough.\n\nFINDINGS: Edema is seen.\n\nFINAL IMPRESSION: Edema of 2.5 cm.",
)


def test_the_texts_that_the_reports_came_from_score_one():
    """Our own headings are no words: a stranger's texts need not have them."""
    references = [join_sections(*split_sections(text)) for text in SOURCES]
    assert references[0].startswith("FINDINGS: ")
    result, _ = evaluate_reports(references, SOURCES, _label)
    for name in ("bleu_1", "bleu_2", "bleu_4", "rouge_l"):
        assert result[name] == pytest.approx(1.0, abs=1e-6)
    assert result["mean_num_words"] == result["mean_num_words_real"]
    assert "remarks" not in result


def test_what_a_reader_should_know_is_said(tmp_path, capsys):
    result, _ = evaluate_reports(["Edema is seen."], ["Edema is seen."], _label)
    assert result["cider"] == 0.0
    assert "CIDEr of a single report is 0" in result["remarks"][0]
    real = _folder(tmp_path / "real")
    table = pd.DataFrame({"file_name": ["images/1.png", "images/2.png"], "report": ["Clear.</s>", "Edema."]})
    table.to_csv(tmp_path / "made.csv", index=False)
    matched = match_reports(tmp_path / "made.csv", real, "test")
    assert "1 of 2 reports hold tokens of a decoder" in matched.remarks[0]
    assert "1 of 2 reports hold tokens" in capsys.readouterr().err
