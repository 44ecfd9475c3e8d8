"""FID and KID against independent formulas, AUROC against sklearn, films that cannot be read."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.metrics import roc_auc_score

from data_module.findings import FINDINGS
from evaluation.images.auroc import compare_auroc
from evaluation.images.fid import frechet_distance
from evaluation.images.inputs import FeatureSets, FilmInputs
from evaluation.images.kid import kernel_distance
from evaluation.images.per_finding import compare_findings
from evaluation.images.ssim import draw_pairs, num_scales, score_similarity
from evaluation.metric import find_metrics, score_metrics
from evaluation.statistics.findings import score_auroc


def _features(seed: int, num: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


def test_fid_equals_the_textbook_formula():
    a, b = _features(0, 200, 8), _features(1, 150, 8)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_fid_of_shifted_and_of_scaled_gaussians_is_known():
    a = _features(2, 300, 6)
    shift = np.arange(6.0)
    assert frechet_distance(a, a + shift) == pytest.approx(np.square(shift).sum(), rel=1e-9)
    # Scaling by 2 about the mean: tr(S + 4 S - 2 * 2 S) = tr S.
    scaled = a.mean(0) + 2.0 * (a - a.mean(0))
    assert frechet_distance(a, scaled) == pytest.approx(np.trace(np.cov(a, rowvar=False)), rel=1e-9)


@pytest.mark.parametrize(("num", "dim"), [(100, 16), (10, 64)])
def test_fid_with_itself_is_zero_also_with_fewer_films_than_features(num, dim):
    a = _features(3, num, dim)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)
    other = frechet_distance(a, _features(4, num, dim))
    assert np.isfinite(other)
    assert other > 1.0


def test_fid_of_fewer_films_than_features_equals_the_formula():
    a, b = _features(5, 12, 20), _features(6, 9, 20)
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    trace_root = np.sqrt(np.clip(np.linalg.eigvals(product).real, 0, None)).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() - 2 * trace_root
    expected += np.cov(a, rowvar=False).trace() + np.cov(b, rowvar=False).trace()
    # The singular product's zero eigenvalues come back as 1e-13 or so, their roots as 1e-6.
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-3)


def test_fid_does_not_depend_on_the_order_of_films_or_features():
    a, b = _features(7, 40, 5), _features(8, 50, 5)
    rng = np.random.default_rng(0)
    columns = rng.permutation(5)
    shuffled = frechet_distance(a[rng.permutation(40)][:, columns], b[:, columns])
    assert shuffled == pytest.approx(frechet_distance(a, b), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((3, 4)), np.zeros((3, 5)), "shapes"),
        (np.zeros((1, 4)), np.zeros((3, 4)), "at least 2"),
        (np.full((3, 4), np.nan), np.zeros((3, 4)), "NaN"),
    ],
)
def test_distances_refuse_what_they_cannot_measure(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


def test_kid_equals_a_double_loop():
    a, b = _features(9, 7, 3), _features(10, 7, 3)

    def kernel(x, y):
        return (x @ y / 3 + 1.0) ** 3

    def naive(x, y):
        n = len(x)
        within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(n) for j in range(n) if i != j) / (
            n * (n - 1)
        )
        return within - 2 * sum(kernel(u, v) for u in x for v in y) / n**2

    # Two films a side: the only subset of "half, but at least two" of two is the whole.
    value, deviation = kernel_distance(a[:2], b[:2], np.random.default_rng(0))
    assert value == pytest.approx(naive(a[:2], b[:2]), rel=1e-9)
    assert deviation == pytest.approx(0.0, abs=1e-9)
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    value, _ = kernel_distance(a, b, rng, num_subsets=4)
    expected = [naive(a[again.permutation(7)[:3]], b[again.permutation(7)[:3]]) for _ in range(4)]
    assert value == pytest.approx(np.mean(expected), rel=1e-9)


def test_kid_of_one_distribution_is_about_zero_and_grows_with_distance():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 4)), rng.normal(size=(400, 4))
    same, _ = kernel_distance(a, b, rng)
    far, _ = kernel_distance(a, b + 1.0, rng)
    assert abs(same) < 0.05
    assert far > 10 * abs(same)


def test_value_and_floor_use_the_same_number_of_films():
    rng = np.random.default_rng(0)
    sets = FeatureSets.match(
        rng.normal(size=(30, 3)), rng.normal(size=(50, 3)), rng.normal(size=(20, 3)), rng
    )
    assert sets.counts["num_fidelity"] == len(sets.synthetic) == len(sets.real) == len(sets.floor) == 20
    result, _ = score_metrics(find_metrics(["fid"]), FilmInputs(features=sets), ("features",))
    # Both are one distribution here, so value and floor are alike.
    assert 0.2 < result["fid"] / result["fid_floor"] < 5.0


def _labels(num: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.choice([1.0, 0.0, -1.0, np.nan], size=(num, 14), p=[0.3, 0.3, 0.2, 0.2])
    return labels, rng.random((num, 14)).astype(np.float32)


def test_auroc_equals_sklearn_without_the_uncertain():
    labels, probabilities = _labels()
    result = score_auroc(labels, probabilities)
    for column, name in enumerate(FINDINGS):
        sure = labels[:, column] != -1
        truth = np.nan_to_num(labels[sure, column])
        expected = roc_auc_score(truth, probabilities[sure, column])
        assert result["per_finding"][name] == pytest.approx(expected)
        assert result["num_positive"][name] == truth.sum()
    assert result["mean"] == pytest.approx(np.mean(list(result["per_finding"].values())))
    assert result["skipped"] == {}


def test_auroc_of_a_perfect_and_of_a_reversed_classifier():
    labels = np.tile(np.array([[1.0], [0.0], [np.nan]]), (4, 14))
    perfect = np.nan_to_num(labels)
    assert score_auroc(labels, perfect)["mean"] == 1.0
    assert score_auroc(labels, 1.0 - perfect)["mean"] == 0.0
    assert score_auroc(labels, np.full_like(perfect, 0.3))["mean"] == 0.5


def test_findings_without_two_classes_or_without_scores_are_named_and_not_averaged():
    labels, probabilities = _labels()
    labels[:, FINDINGS.index("Edema")] = np.nan
    labels[:, FINDINGS.index("Fracture")] = 1.0
    probabilities[:, FINDINGS.index("Pleural Other")] = np.nan
    probabilities[3] = np.nan  # a film that could not be read
    result = score_auroc(labels, probabilities)
    assert set(result["skipped"]) == {"Edema", "Fracture", "Pleural Other"}
    assert "one class only (0 positive" in result["skipped"]["Edema"]
    assert "does not score" in result["skipped"]["Pleural Other"]
    assert len(result["per_finding"]) == 11
    column = FINDINGS.index("Pneumonia")
    rows = (labels[:, column] != -1) & (np.arange(60) != 3)
    expected = roc_auc_score(np.nan_to_num(labels[rows, column]), probabilities[rows, column])
    assert result["per_finding"]["Pneumonia"] == pytest.approx(expected)


def test_nothing_to_score_gives_none():
    assert score_auroc(np.full((5, 14), np.nan), np.zeros((5, 14)))["mean"] is None


def test_means_are_over_the_findings_both_sides_can_score():
    labels, probabilities = _labels()
    real_labels = labels.copy()
    real_labels[:, 2:] = 0.0  # only the first two findings occur on real films
    result = compare_auroc(labels, probabilities, real_labels, probabilities)
    assert result["auroc_findings"] == list(FINDINGS[:2])
    assert result["auroc_mean"] == pytest.approx(result["auroc_mean_real"])
    assert len(result["auroc_per_finding"]) == 14
    assert all(why.startswith("real films") for why in result["auroc_skipped"].values())


def test_ssim_of_one_repeated_film_is_one_and_of_noise_is_small(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    same, noise = [], []
    for number in range(4):
        same.append(tmp_path / f"same{number}.png")
        noise.append(tmp_path / f"noise{number}.png")
        Image.fromarray(film).save(same[-1])
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(noise[-1])
    assert score_similarity(same, 32, rng, num_pairs=8).mean == pytest.approx(1.0, abs=1e-4)
    assert score_similarity(noise, 32, rng, num_pairs=8).mean < 0.3
    assert score_similarity(same[:1], 32, rng).mean is None


def test_pairs_of_a_prompt_are_different_films_of_that_prompt():
    groups = ["a", "b", "a", "c", "b", "a"]
    first, second = draw_pairs(groups, 500, np.random.default_rng(0))
    assert (first != second).all()
    assert all(groups[i] == groups[j] for i, j in zip(first, second, strict=True))
    # Three pairs of a, one of b: every pair is equally likely.
    assert np.mean([groups[i] == "a" for i in first]) == pytest.approx(0.75, abs=0.06)
    assert len(draw_pairs(["a", "b"], 10, np.random.default_rng(0))[0]) == 0


def test_ms_ssim_within_a_prompt_sees_only_that_prompt(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    paths, groups = [], []
    for number in range(4):  # two prompts, one film each, drawn twice
        if number % 2 == 0:
            film = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        groups.append(str(number // 2))
        Image.fromarray(film).save(paths[-1])
    assert score_similarity(paths, 64, rng, groups).mean == pytest.approx(1.0, abs=1e-4)
    assert score_similarity(paths, 64, rng, ["all"] * 4).mean < 0.8
    assert score_similarity(paths, 64, rng, list("abcd")).mean is None
    assert [num_scales(side) for side in (8, 11, 64, 176, 256)] == [0, 1, 3, 5, 5]


def test_findings_have_their_own_distances_and_the_rare_are_named():
    rng = np.random.default_rng(0)
    labels = {key: np.zeros((60, 14), np.float32) for key in ("synthetic", "real", "floor")}
    features = {key: rng.normal(size=(60, 4)) for key in labels}
    for key, table in labels.items():
        table[:30, FINDINGS.index("Edema")] = 1.0
        table[: 5 if key == "synthetic" else 30, FINDINGS.index("Fracture")] = 1.0
    features["synthetic"][:30] += 5.0  # only the films with edema are off
    figures, skipped = compare_findings(labels, features, rng)
    assert set(figures) == {"Edema"}
    assert figures["Edema"]["num_films"] == 30
    assert figures["Edema"]["fid"] > 50.0 > 10.0 > figures["Edema"]["fid_floor"]
    assert skipped["Fracture"] == "5 films of the synthetic set"
