"""What the labeler reads from prompts, as numbers."""

import numpy as np
import pytest

from data_module.controls import CONTROLS
from data_module.findings import FINDINGS
from data_module.prompt_facts import NUM_FACTS, read_facts, split_facts

NAMES = [*FINDINGS, *CONTROLS, "age said"]


def facts_of(text: str) -> dict[str, float]:
    """Those that are not 0."""
    return {name: value for name, value in zip(NAMES, read_facts([text])[0].tolist(), strict=True) if value}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", {}),
        ("Possible pneumonia.", {"Pneumonia": 0.5}),
        ("AP view.", {"AP view": 1}),
        ("Portable film of a woman.", {"AP view": 1, "male": -1}),
        ("Aged 75.", {"age / 100": 0.5, "age said": 1}),
        ("Aged 50.", {"age said": 1}),
    ],
)
def test_known_answers(text, facts):
    found = facts_of(text)
    found.pop("No Finding", None)
    assert found == pytest.approx(facts)


def test_sides_and_grades_belong_to_their_finding():
    found = facts_of("Large left pleural effusion and mild right atelectasis, no pneumothorax")
    assert {name: found[name] for name in ("Pleural Effusion", "Atelectasis", "Pneumothorax")} == {
        "Pleural Effusion": 1,
        "Atelectasis": 1,
        "Pneumothorax": -1,
    }
    for name, left, grade in (("Pleural Effusion", 1, 3), ("Atelectasis", -1, 1)):
        assert (found[f"{name}: left"], found[f"{name}: right"]) == (left, -left)
        assert [found[f"{name}: grade {k}"] == 1 for k in (1, 2, 3)] == [k == grade for k in (1, 2, 3)]
    assert not any(name.startswith("Pneumothorax:") for name in found)


def test_shape_and_range():
    facts = read_facts(["Severe edema in a 34-year-old man.", "Normal chest."])
    assert facts.shape == (2, NUM_FACTS) == (2, 88)
    assert facts.dtype == np.float32
    assert np.abs(facts).max() == 1
    assert read_facts([]).shape == (0, NUM_FACTS)


def test_a_token_for_each_finding_and_one_of_the_film():
    tokens = split_facts(read_facts(["Small left pleural effusion, 80-year-old man, PA view.", ""]), 100)
    assert tokens.shape == (2, 15, 100)
    assert not tokens[1].any()
    effusion = FINDINGS.index("Pleural Effusion")
    told = tokens[0, effusion, 6 * effusion : 6 * effusion + 6]
    assert told.tolist() == [1, 1, -1, 1, -1, -1]  # there, left, not right, of grade 1 and of no other
    assert tokens[0, -1, 84:88].tolist() == pytest.approx([1, -1, 0.6, 1])  # a man, PA, 80, an age is said
    assert np.abs(tokens[0]).sum() == pytest.approx(6 + 3.6)
    assert split_facts(read_facts([]), 100).shape == (0, 15, 100)


@pytest.mark.parametrize("width", [128, 32, 6])
def test_each_fact_is_in_the_token_of_its_finding_alone(width):
    alone = split_facts(np.eye(NUM_FACTS, dtype=np.float32), width)
    assert (alone.reshape(NUM_FACTS, -1).sum(axis=1) == 1).all()
    assert alone.sum(axis=0).max() == 1  # no two at one place of one token
    for name, token in zip(NAMES, alone.any(axis=2).argmax(axis=1).tolist(), strict=True):
        finding = name.partition(":")[0]
        assert token == (FINDINGS.index(finding) if finding in FINDINGS else 14)
