"""Agreement of prompt, film and report: known answers."""

import numpy as np

from data_module.findings import FINDINGS
from evaluation.pairs.agreement import score_agreement
from evaluation.pairs.section import evaluate_pairs


def _labels(num: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((num, len(FINDINGS))) < 0.3).astype(np.float32)


def test_perfect_agreement_is_one_and_shuffled_is_not():
    labels = _labels()
    result = score_agreement(labels, labels, labels, np.random.default_rng(0))
    for name in ("report_vs_prompt_micro_f1_14", "film_vs_prompt_micro_f1_14", "film_report_agreement"):
        assert result[name] == 1.0
    assert result["film_report_agreement_shuffled"] < 0.6
    assert result["report_vs_prompt_micro_f1_14_shuffled"] < 0.6


def test_no_agreement_is_zero():
    labels = _labels()
    result = score_agreement(labels, 1.0 - labels, labels, np.random.default_rng(0))
    assert result["report_vs_prompt_micro_f1_14"] == 0.0
    assert result["film_report_agreement"] == 0.0
    assert result["film_vs_prompt_micro_f1_14"] == 1.0


def test_uncertain_and_unmentioned_are_not_positive():
    prompt, report = _labels(), _labels()
    prompt[prompt == 0] = -1.0
    report[report == 0] = np.nan
    result = score_agreement(prompt, report, _labels(), np.random.default_rng(0))
    assert result["report_vs_prompt_micro_f1_14"] == 1.0


def test_findings_and_films_without_a_decision_are_left_out():
    labels, film = _labels(), _labels()
    film[:, 3] = np.nan  # the classifier does not score it
    film[5] = np.nan  # the film could not be read
    report = labels.copy()
    report[:, 3] = 1.0 - report[:, 3]
    report[5] = 1.0 - report[5]
    result = score_agreement(labels, report, film, np.random.default_rng(0))
    assert result["film_report_agreement"] == 1.0
    assert FINDINGS[3] not in result["per_finding"]["film_report_agreement"]
    assert result["num_readable"] == 39
    assert result["report_vs_prompt_micro_f1_14"] < 1.0


def test_one_pair_and_no_readable_film_give_numbers_or_none():
    labels = _labels(1)
    labels[0, 0] = 1.0
    result = score_agreement(labels, labels, np.full((1, 14), np.nan), np.random.default_rng(0))
    assert result["report_vs_prompt_micro_f1_14"] == 1.0
    assert result["film_report_agreement"] is None


def test_section_has_the_ceiling_beside_the_value():
    real, film = _labels(30, 1), _labels(40)
    film[:20] = 0.0  # half of the synthetic films show nothing
    result, _ = evaluate_pairs((_labels(), _labels(), film), (real, real, real))
    assert result["film_report_agreement_real"] == 1.0
    assert 0.3 < result["film_report_agreement"] < 0.9
    assert result["num_pairs"] == 40
    assert result["num_pairs_real"] == 30
    again, _ = evaluate_pairs((_labels(), _labels(), film), (real, real, real))
    assert again == result
