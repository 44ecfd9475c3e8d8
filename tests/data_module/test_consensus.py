"""The BLEU-4 that a candidate can expect, against pycocoevalcap's of a corpus that says the same."""

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from scipy import sparse

from data_module import consensus
from data_module.consensus import ConsensusBleu, find_typical

REFERENCES = [
    "the lungs are clear the heart is normal and the lungs are clear again",
    "the lungs are clear and the heart is normal in size",
    "there is a small left pleural effusion and the heart is normal in size",
]
CANDIDATES = [
    "the heart is normal in size and the lungs are clear",
    "the lungs are clear the heart is normal the lungs are clear the lungs are clear",  # phrases three times
    "there is a small left pleural effusion",
    "the heart is normal in size and there is no left pleural effusion and the lungs are clear again today",
]


def corpus_bleu(candidate, references):
    """BLEU-4 of one text that is the answer to every reference."""
    scorer = BleuScorer(n=4)
    for reference in references:
        scorer += (candidate, [reference])
    return scorer.compute_score(option="closest", verbose=0)[0][3]


def test_it_is_the_bleu_of_a_corpus():
    """Weights of 1/2, 1/4 and 1/4 are a corpus in which the first reference stands twice."""
    weights = np.array([[1 / 3, 0.5], [1 / 3, 0.25], [1 / 3, 0.25]])
    scores = ConsensusBleu(CANDIDATES, REFERENCES).score(weights)
    corpora = (REFERENCES, [REFERENCES[0], *REFERENCES])
    expected = [[corpus_bleu(text, corpus) for corpus in corpora] for text in CANDIDATES]
    np.testing.assert_allclose(scores, expected, atol=1e-7)
    assert scores.min() > 0.05  # every candidate shares four words with some reference
    np.testing.assert_array_equal(
        scores, ConsensusBleu(CANDIDATES, REFERENCES).score(sparse.csc_array(weights))
    )


def test_headings_case_and_punctuation_do_not_count():
    plain = ConsensusBleu(["the lungs are clear. no effusion."], ["the lungs are clear. no effusion."])
    dressed = ConsensusBleu(
        ["FINDINGS: The lungs are clear. IMPRESSION: No effusion."], ["the lungs, are clear. No effusion."]
    )
    assert plain.score(np.ones((1, 1))) == dressed.score(np.ones((1, 1))) == pytest.approx(1.0)


def test_a_text_without_words_has_no_bleu():
    scores = ConsensusBleu(["", "!?", "the lungs are clear"], ["the lungs are clear", ""]).score(np.eye(2))
    assert scores[:2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert scores[2, 0] == pytest.approx(1.0)


def test_the_typical_text_need_not_be_the_frequent_one():
    """Two films have the same words, which no other has; what most tell in words of their own is typical."""
    odd = "status post sternotomy with wires"
    texts = [odd, odd, *(f"the heart is normal in size the lungs are clear {word}" for word in "abc")]
    assert find_typical(texts) == texts[2]  # the first of three equals
    with pytest.raises(ValueError, match="no texts"):
        find_typical([])


def test_of_many_texts_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(consensus, "MAX_TEXTS", 3)
    assert consensus.spread(list("abcdefghi")) == ["a", "e", "i"]
    assert consensus.spread(["a", "b"]) == ["a", "b"]
    assert (
        find_typical(["one text", "a b", "a b", "a b", "one text", "a b", "a b", "a b", "one text"])
        == "one text"
    )
