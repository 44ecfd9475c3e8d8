"""Every figure as a function of resampling weights: known answers, and repeated items in place of weights."""

import numpy as np
import pytest

from data_module.findings import FINDINGS
from evaluation.images.coverage import score_coverage, share_coverage
from evaluation.images.vendi import vendi_influence, vendi_score
from evaluation.statistics import weighted_estimators
from evaluation.statistics.findings import calibration_error

POLICY = ("ignore", "negative")


def _counts(num: int, seed: int = 0) -> np.ndarray:
    """Weights (1, N) of one resample."""
    return np.random.default_rng(seed).multinomial(num, np.full(num, 1.0 / num), 1).astype(np.float32)


@pytest.mark.parametrize(("num", "dim"), [(40, 6), (12, 30)])
def test_vendi_influence_is_its_derivative(num, dim):
    """Raising the weight of one film by a little moves the score of the weighted kernel by its influence."""
    features = np.random.default_rng(0).normal(size=(num, dim)) + 0.5
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)

    def weighted_score(weights):
        values = np.linalg.eigvalsh((rows * weights[:, None]).T @ rows / weights.sum())
        values = values[values > 1e-12]
        return np.exp(-(values * np.log(values)).sum())

    assert weighted_score(np.ones(num)) == pytest.approx(vendi_score(features))
    influence = vendi_influence(features)
    assert influence.mean() == pytest.approx(0.0, abs=1e-9)
    step = 1e-4
    for film in (0, 3, num - 1):
        bumped = np.ones(num)
        bumped[film] += step
        found = (weighted_score(bumped) - weighted_score(np.ones(num))) / step
        assert found == pytest.approx(influence[film] / num, rel=1e-2, abs=1e-4)


def test_shares_of_films_have_the_manifold_figures_as_means():
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(50, 4)), rng.normal(size=(40, 4)) * 0.8
    shares = share_coverage(real, made)
    assert {name: len(values) for name, values in shares.items()} == {
        "precision": 40,
        "density": 40,
        "recall": 50,
        "coverage": 50,
    }
    for name, value in score_coverage(real, made).items():
        assert shares[name].mean() == pytest.approx(value)


def test_calibration_with_weights_of_one_is_the_ece_and_no_higher_in_a_resample_of_honest_scores():
    rng = np.random.default_rng(0)
    probabilities = rng.random((600, 14)).astype(np.float32)
    labels = (rng.random((600, 14)) < probabilities).astype(np.float32)
    rows = np.ones(600, bool)
    estimate = weighted_estimators.calibration(labels, probabilities, rows, list(FINDINGS[:3]), POLICY)
    expected = np.mean([calibration_error(labels[:, c], probabilities[:, c]) for c in range(3)])
    assert estimate(np.ones((1, 600), np.float32))[0] == pytest.approx(expected)
    # The plain ECE of a resample of calibrated scores is higher by itself; the interval must hold the value.
    resamples = np.concatenate([_counts(600, seed) for seed in range(60)])
    assert estimate(resamples).mean() == pytest.approx(expected, rel=0.15)


def test_pairs_count_as_often_as_both_are_drawn():
    scores, pairs = np.array([0.2, 0.5, 0.9]), np.array([[0, 1], [1, 2], [0, 2]])
    estimate = weighted_estimators.mean_of_pairs(scores, pairs)
    assert estimate(np.ones((1, 3)))[0] == pytest.approx(scores.mean())
    assert estimate(np.array([[2.0, 1.0, 0.0]]))[0] == pytest.approx(0.2)
    assert estimate(np.array([[2.0, 1.0, 3.0]]))[0] == pytest.approx((2 * 0.2 + 3 * 0.5 + 6 * 0.9) / 11)
    assert np.isnan(estimate(np.array([[3.0, 0.0, 0.0]]))[0])


def test_median_and_ratio_equal_those_of_the_repeated_items():
    rng = np.random.default_rng(0)
    values, rows = rng.random(31), np.arange(31) < 21
    for seed in range(5):
        counts = _counts(31, seed)
        drawn = np.repeat(values[rows], counts[0, rows].astype(int))
        lower = np.sort(drawn)[(len(drawn) - 1) // 2]
        found = weighted_estimators.median_of(values, rows)
        assert found(counts)[0] == lower
        assert weighted_estimators.ratio(found, found)(counts)[0] == 1.0
    zero = weighted_estimators.median_of(np.zeros(31), rows)
    assert np.isnan(weighted_estimators.ratio(zero, zero)(np.ones((1, 31))))
