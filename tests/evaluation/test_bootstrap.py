"""Resampling: weighted figures equal the plain ones, intervals cover, pairs are paired, Holm by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from data_module.findings import FINDINGS
from evaluation.images.fid import frechet_distance, frechet_influence
from evaluation.images.kid import kernel_influence
from evaluation.reports.overlap import score_overlap
from evaluation.statistics import weighted_estimators
from evaluation.statistics.bootstrap import draw_weights, holm, p_value, percentile_interval, resample
from evaluation.statistics.findings import score_f1


def _weights(num_items: int, num: int = 5) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.vstack([np.ones(num_items), rng.integers(0, 3, (num - 1, num_items))]).astype(np.float32)


@pytest.mark.parametrize(
    ("figure", "score"), [("auroc", roc_auc_score), ("average_precision", average_precision_score)]
)
def test_ranked_figures_equal_sklearn_on_repeated_items(figure, score):
    rng = np.random.default_rng(0)
    labels = rng.choice([1.0, 0.0, -1.0], size=(60, 14), p=[0.4, 0.4, 0.2])
    p = np.round(rng.random((60, 14)), 1).astype(np.float32)  # many ties
    weights, rows = _weights(60), rng.random(60) < 0.8
    found = weighted_estimators.ranked(
        labels, p, rows, ("Edema", "Fracture"), ("ignore", "negative"), figure
    )(weights)
    for place, drawn in enumerate(weights.astype(int)):
        expected = []
        for name in ("Edema", "Fracture"):
            column = FINDINGS.index(name)
            items = np.repeat(np.arange(60), drawn * (rows & (labels[:, column] != -1)))
            expected.append(score(labels[items, column], p[items, column]))
        assert found[place] == pytest.approx(np.mean(expected), abs=1e-6)


def test_f1_and_bleu_equal_the_plain_figures_on_repeated_items():
    rng = np.random.default_rng(0)
    truth, guess = rng.choice([1.0, 0.0, -1.0, np.nan], size=(2, 30, 14))
    references = ["no effusion is seen today", "heart is large and wide", "clear lungs on both sides"] * 10
    reports = ["no effusion is seen", "heart is large and wide now", "lungs are clear"] * 10
    weights, rows = _weights(30), np.ones(30, bool)
    counts = score_overlap(references, reports).bleu_counts
    for place, drawn in enumerate(weights.astype(int)):
        items = np.repeat(np.arange(30), drawn)
        expected = score_f1(truth[items], guess[items])
        for average in ("micro", "macro"):
            for number in (14, 5):
                found = weighted_estimators.f1(truth, guess, rows, average, number)(weights)[place]
                assert found == pytest.approx(expected[f"{average}_f1_{number}"], abs=1e-6)
        again = score_overlap([references[i] for i in items], [reports[i] for i in items]).figures
        for order in (1, 4):
            assert weighted_estimators.bleu(counts, order)(weights)[place] == pytest.approx(
                again[f"bleu_{order}"], rel=1e-6
            )


def test_patients_are_drawn_whole_and_strata_keep_their_size():
    patients = np.array(["a", "a", "b", "c", "x", "y"])
    strata = np.array([0, 0, 0, 0, 1, 1])
    weights = np.concatenate(list(draw_weights(patients, strata, 150, seed=0)))
    assert weights.shape == (150, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (weights[:, 4:].sum(axis=1) == 2).all()
    same = np.concatenate(list(draw_weights(patients, strata, 150, seed=0)))
    other = np.concatenate(list(draw_weights(patients, strata, 150, seed=0, salts={1: "b"})))
    assert (weights == same).all()
    assert (weights[:, :4] == other[:, :4]).all()
    assert (weights[:, 4:] != other[:, 4:]).any()


def test_an_interval_by_patient_is_wider_than_by_item():
    """Ten items a patient that say the same are one observation, not ten."""
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.normal(size=40), 10)
    widths = []
    for patients in (np.repeat(np.arange(40), 10), np.arange(400)):
        blocks = draw_weights(patients.astype(str), np.zeros(400, int), 400, seed=0)
        low, high = percentile_interval(
            resample({"mean": weighted_estimators.mean_of(scores)}, blocks)["mean"]
        )
        assert low < scores.mean() < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(np.sqrt(10) * widths[1], rel=0.3)


def test_influences_predict_how_fid_and_kid_vary():
    """The spread of FID over fresh samples is what each sample's influences say of it."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(4, 4))
    values, predicted = [], []
    for _ in range(120):
        a, b = rng.normal(size=(250, 4)) @ mix, rng.normal(size=(300, 4)) @ mix + 0.7
        values.append(frechet_distance(a, b))
        shares = [np.square(x).sum() / len(x) ** 2 for x in frechet_influence(a, b)]
        predicted.append(np.sqrt(sum(shares)))
    assert np.mean(predicted) == pytest.approx(np.std(values), rel=0.25)
    influence, _ = kernel_influence(a, b)
    outlier = np.vstack([a, 9.0 * np.ones((1, 4))])
    assert np.abs(kernel_influence(outlier, b)[0]).argmax() == len(a)
    assert influence.mean() == pytest.approx(0.0, abs=1e-9)


def test_frechet_influence_is_its_derivative():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(60, 3)), rng.normal(size=(80, 3)) * 1.5 + 1.0
    influence, _ = frechet_influence(a, b)
    # Doubling film i adds weight 1/N to it: FID moves by influence / N, to first order.
    for i in (0, 7, 30):
        many = np.vstack([np.repeat(a, 20, axis=0), a[i : i + 1]])
        moved = (frechet_distance(many, b) - frechet_distance(np.repeat(a, 20, axis=0), b)) * 1200
        assert moved == pytest.approx(influence[i], rel=0.1, abs=0.1)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9])[1] == pytest.approx(1.0)
    adjusted = holm([0.02, float("nan")])
    assert adjusted[0] == pytest.approx(0.02)  # a figure that is undefined does not count
    assert np.isnan(adjusted[1])


def test_p_values_and_undefined_resamples():
    assert p_value(np.full(99, 1.0)) == pytest.approx(0.02)
    assert p_value(np.tile([1.0, -1.0], 50)) == pytest.approx(1.0)
    assert np.isnan(p_value(np.full(5, np.nan)))
    assert percentile_interval(np.full(10, np.nan)) is None
