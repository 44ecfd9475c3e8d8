"""The text of an item: whole columns with equal chances, or sentences drawn anew that fit."""

import numpy as np
import pytest
import torch

from data_module.item_texts import ItemTexts
from data_module.sentences import split_sentences

FIELDS = np.array(
    [
        ["Heart is large. No effusion. Lungs are clear.", "Cardiomegaly.", ""],
        ["", "Edema of 3.5 cm is new.", ""],
    ]
)


def draws(texts, row, count=400):
    return [texts.draw(np.array([row]), torch.Generator().manual_seed(seed))[0] for seed in range(count)]


def count_words(text):
    return len(text.split())


def test_columns_have_equal_chances_and_empty_ones_none():
    drawn = draws(ItemTexts(FIELDS), 0)
    assert set(drawn) == {FIELDS[0, 0], FIELDS[0, 1]}
    assert drawn.count("Cardiomegaly.") / len(drawn) == pytest.approx(0.5, abs=0.08)
    assert set(draws(ItemTexts(FIELDS), 1, 20)) == {"Edema of 3.5 cm is new."}


def test_sentences_come_in_every_number_and_order_and_never_twice():
    sentences = ["Heart is large.", "No effusion.", "Lungs are clear.", "Cardiomegaly."]
    drawn = draws(ItemTexts(FIELDS, 3, count_words, 50), 0)
    parts = [split_sentences(text) for text in drawn]
    assert {len(part) for part in parts} == {1, 2, 3}
    assert all(len(set(part)) == len(part) and set(part) <= set(sentences) for part in parts)
    assert {part[0] for part in parts} == set(sentences)
    shares = [sum(len(part) == size for part in parts) / len(parts) for size in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.08)


def test_sentences_that_do_not_fit_are_left_out():
    drawn = draws(ItemTexts(FIELDS, 5, count_words, 5), 0)
    assert max(count_words(text) for text in drawn) == 5
    # The first sentence stays even where it alone is too long: the text encoder reads its beginning.
    assert set(draws(ItemTexts(FIELDS, 5, count_words, 2), 1, 10)) == {"Edema of 3.5 cm is new."}


def test_the_same_generator_draws_the_same():
    texts = ItemTexts(FIELDS, 4, count_words, 50)
    both = [texts.draw(np.array([0, 1, 0]), torch.Generator().manual_seed(3)) for _ in range(2)]
    assert both[0] == both[1]
