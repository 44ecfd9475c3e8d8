"""The suite's numbers against independent implementations on the same features or text, to 1e-4 relative."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score
from torchmetrics.image.kid import poly_mmd

from data_module.findings import FINDINGS, FIVE_FINDINGS, as_binary
from evaluation.images import features as feature_arrays
from evaluation.images.coverage import score_coverage
from evaluation.images.fid import frechet_distance, frechet_influence
from evaluation.images.kid import kernel_distance, kernel_influence
from evaluation.images.vendi import vendi_score
from evaluation.reports.overlap import normalize, score_overlap
from evaluation.reports.rouge import score_rouge_l
from evaluation.statistics.findings import calibration_error, score_conventions, score_probabilities

CLOSE = 1e-4


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(24, 24))
    a = rng.gamma(2.0, size=(400, 24)) @ mix
    return a.astype(np.float32), (0.9 * rng.gamma(2.2, size=(300, 24)) @ mix).astype(np.float32)


def test_fid_equals_torch_fidelity(features):
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    a, b = (
        {"mu": x.mean(axis=0, dtype=np.float64), "sigma": np.cov(x.astype(np.float64), rowvar=False)}
        for x in features
    )
    expected = metric.fid_statistics_to_metric(a, b, False)["frechet_inception_distance"]
    assert frechet_distance(*features) == pytest.approx(expected, rel=CLOSE)


def test_kid_equals_torch_fidelity(features):
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    a, b = (x.astype(np.float64)[:250] for x in features)
    tensors = [torch.from_numpy(x) for x in (a, b)]
    # One subset of all films: nothing is left to chance.
    expected = metric.kid_features_to_metric(*tensors, kid_subsets=1, kid_subset_size=250, verbose=False)
    expected = expected[metric.KEY_METRIC_KID_MEAN]
    assert float(poly_mmd(*tensors)) == pytest.approx(expected, rel=CLOSE)
    # The mean over subsets of half the films is the same figure, up to chance.
    found = kernel_distance(a, b, np.random.default_rng(0), num_subsets=600)[0]
    assert found == pytest.approx(expected, rel=0.15)


def test_memory_blocks_change_nothing(features, monkeypatch):
    before = (frechet_distance(*features), *frechet_influence(*features), *kernel_influence(*features))
    monkeypatch.setattr(feature_arrays, "BLOCK", 37)
    after = (frechet_distance(*features), *frechet_influence(*features), *kernel_influence(*features))
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6, atol=1e-8 * np.abs(old).max())


def test_coverage_equals_prdc(features, monkeypatch):
    prdc = pytest.importorskip("prdc")
    from evaluation.images import coverage

    expected = prdc.compute_prdc(*features, nearest_k=5)
    monkeypatch.setattr(coverage, "BLOCK", 64)
    found = score_coverage(*features)
    assert 0.0 < found["recall"] < 1.0
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), rel=CLOSE), name


def test_vendi_by_its_definition(features):
    for rows in (features[0][:10], features[0]):  # fewer and more films than features
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        values = np.linalg.eigvalsh((unit @ unit.T).astype(np.float64) / len(rows))
        values = values[values > 1e-9]
        assert vendi_score(rows) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=CLOSE)
    assert vendi_score(np.eye(7)) == pytest.approx(7.0)
    assert vendi_score(np.ones((7, 3))) == pytest.approx(1.0)


def _labels(num: int = 300):
    rng = np.random.default_rng(1)
    labels = rng.choice([1.0, 0.0, -1.0, np.nan], (2, num, 14), p=[0.25, 0.3, 0.15, 0.3])
    return labels[0], np.where(rng.random((num, 14)) < 0.6, labels[0], labels[1])


def test_average_precision_and_ece_equal_sklearn_and_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    labels, _ = _labels()
    p = np.random.default_rng(2).random((300, 14)).astype(np.float32)
    found = score_probabilities(labels, p)
    for column, name in enumerate(FINDINGS):
        rows = labels[:, column] != -1
        truth = np.nan_to_num(labels[rows, column])
        assert found[name]["average_precision"] == pytest.approx(
            average_precision_score(truth, p[rows, column]), rel=CLOSE
        )
        expected = torchmetrics.binary_calibration_error(
            torch.from_numpy(p[rows, column]), torch.from_numpy(truth).long(), n_bins=15
        )
        assert found[name]["ece"] == pytest.approx(float(expected), rel=CLOSE)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.0
    assert calibration_error(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == 1.0


@pytest.mark.parametrize("policy", ["negative", "positive", "ignore"])
def test_conventions_equal_sklearn(policy):
    truth, guess = _labels()
    found = score_conventions(truth, guess)[policy]
    a, b = (as_binary(x, policy) for x in (truth, guess))
    for names in (FINDINGS, FIVE_FINDINGS):
        chosen = np.isin(FINDINGS, names)
        known = (~np.isnan(a) & ~np.isnan(b))[:, chosen]
        y, z = a[:, chosen], b[:, chosen]
        for figure, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            key = f"{figure}_{len(names)}"
            micro = score(y[known], z[known])
            assert found[f"micro_{key}"] == pytest.approx(micro, rel=CLOSE)
            each = [score(y[known[:, c], c], z[known[:, c], c]) for c in range(len(names))]
            assert found[f"macro_{key}"] == pytest.approx(np.mean(each), rel=CLOSE)
            rows = [r for r in range(len(y)) if (y[r][known[r]] + z[r][known[r]] > 0).any()]
            each = [score(y[r][known[r]], z[r][known[r]], zero_division=0.0) for r in rows]
            assert found[f"example_{key}"] == pytest.approx(np.mean(each), rel=CLOSE)


REFERENCES = [
    "The heart size is normal. There is no pleural effusion or pneumothorax.",
    "Small left pleural effusion with adjacent atelectasis. No pneumothorax.",
    "Lungs are clear. Heart and mediastinum are within normal limits.",
    "Right lower lobe opacity, which may represent pneumonia.",
]
REPORTS = [
    "The heart is normal in size. There is no pleural effusion.",
    "Small left pleural effusion. No pneumothorax is seen today.",
    "The lungs are clear. Heart and mediastinum are normal.",
    "Opacity of the right lower lobe may represent atelectasis or pneumonia of the right lower lobe.",
]


def test_bleu_equals_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none")
    expected = metric.corpus_score([normalize(t) for t in REPORTS], [[normalize(t) for t in REFERENCES]])
    assert score_overlap(REFERENCES, REPORTS).figures["bleu_4"] == pytest.approx(
        expected.score / 100, rel=CLOSE
    )


def test_rouge_l_equals_rouge_score():
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    found = score_overlap(REFERENCES, REPORTS)
    for place, (reference, report) in enumerate(zip(REFERENCES, REPORTS, strict=True)):
        score = scorer.score(normalize(reference), normalize(report))["rougeL"]
        # COCO's ROUGE-L weighs recall by beta = 1.2 where rouge_score takes the harmonic mean.
        p, r = score.precision, score.recall
        assert found.rouge_l[place] == pytest.approx((1 + 1.44) * p * r / (r + 1.44 * p), rel=CLOSE)


@pytest.mark.parametrize("num_words", [2, 20, 200])
def test_rouge_l_is_that_of_pycocoevalcap(num_words):
    """To the last bit: texts of few and of many words, empty ones, equal ones, longer than a machine word."""
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    rng = np.random.default_rng(num_words)
    words = np.array([f"w{number}" for number in range(num_words)])
    references, hypotheses = (
        [" ".join(rng.choice(words, size=rng.integers(0, 150))) for _ in range(60)] for _ in range(2)
    )
    references += ["", "", "w0 w1", "w0 w0 w1"]
    hypotheses += ["", "w0", "", "w0 w1 w0"]
    expected, each = rouge.compute_score(
        {row: [text] for row, text in enumerate(references)},
        {row: [text] for row, text in enumerate(hypotheses)},
    )
    found = score_rouge_l(references, hypotheses)
    assert found.tolist() == each.tolist()
    assert found.mean() == expected


def test_cider_by_its_definition():
    """CIDEr-D (Vedantam et al., CVPR 2015): tf-idf cosine of clipped counts, length penalty, x 10."""

    def grams(text, n):
        words = normalize(text).split()
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    document_frequency = Counter(g for t in REFERENCES for n in range(1, 5) for g in grams(t, n))
    document_frequency = {g: sum(g in grams(t, len(g)) for t in REFERENCES) for g in document_frequency}

    def vector(counts):
        return {
            g: count * (math.log(len(REFERENCES)) - math.log(max(1.0, document_frequency.get(g, 0.0))))
            for g, count in counts.items()
        }

    found = score_overlap(REFERENCES, REPORTS)
    for place, (reference, report) in enumerate(zip(REFERENCES, REPORTS, strict=True)):
        total = 0.0
        for n in range(1, 5):
            hyp, ref = vector(grams(report, n)), vector(grams(reference, n))
            dot = sum(min(value, ref[g]) * ref[g] for g, value in hyp.items() if g in ref)
            norms = [math.sqrt(sum(v * v for v in x.values())) for x in (hyp, ref)]
            total += dot / (norms[0] * norms[1]) if all(norms) else dot
        # The length of pycocoevalcap's CIDEr-D is the number of bigrams.
        delta = sum(grams(report, 2).values()) - sum(grams(reference, 2).values())
        expected = 10.0 * total / 4 * math.exp(-(delta**2) / (2 * 6.0**2))
        assert found.cider[place] == pytest.approx(expected, rel=CLOSE)
