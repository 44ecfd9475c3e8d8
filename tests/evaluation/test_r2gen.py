"""R2Gen's way with reports: by hand, sentence by sentence."""

import pytest

from evaluation.reports.r2gen import clean_findings, find_r2gen_words, score_r2gen


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("Heart size normal. Lungs are clear.", "heart size normal . lungs are clear ."),
        ("FINDINGS: No effusion, or edema. IMPRESSION: Normal.", "no effusion or edema ."),
        ("1. Large heart. 2. Clear lungs.. ", "large heart . clear lungs ."),
        ('A 2.5 cm (round) nodule; T1-T2: "stable".', "a 25 cm round nodule t1t2 stable ."),
        ("IMPRESSION: Normal.", ""),
        ("", ""),
    ],
)
def test_words_of_the_findings(report, words):
    assert clean_findings(report) == words.split()


def test_rare_words_are_one_unknown_word():
    train = ["Lungs clear."] * 3 + ["Lungs hazy."] * 2
    known = find_r2gen_words(train)
    assert known == {"lungs", "clear", "."}
    real = ["Lungs hazy. Heart fine."]
    # hazy, heart and fine are all unknown, so any other three unknown words agree with them.
    alike = score_r2gen(real, ["Lungs opaque. Chest good."], known)
    assert alike["bleu_4"] == pytest.approx(1.0)
    assert alike["rouge_l"] == pytest.approx(1.0)
    other = score_r2gen(real, ["Lungs clear. Clear clear."], known)
    # Of the six words of each (unknown: U), "lungs c . c c ." against "lungs U . U U .": 3 of 6 agree.
    assert other["bleu_1"] == pytest.approx(0.5)
    assert other["rouge_l"] == pytest.approx(0.5)


def test_sixty_words_are_compared_and_empty_references_left_out():
    known = {"a", "b", "."}
    real = ["a " * 60 + "b " * 9]
    assert score_r2gen([*real, "IMPRESSION: a"], ["a " * 60, "b"], known)["bleu_4"] == pytest.approx(1.0)
    assert score_r2gen([*real, "IMPRESSION: a"], ["a " * 60, "b"], known)["num_references"] == 1
    with pytest.raises(ValueError, match="findings section"):
        score_r2gen(["IMPRESSION: a"], ["a"], known)
