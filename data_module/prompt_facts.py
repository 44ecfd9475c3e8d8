"""What the labeler reads from a prompt, as numbers that a denoiser can draw by."""

from collections.abc import Sequence

import numpy as np

from data_module.controls import ASPECTS, CONTROLS, UNSAID, read_controls
from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.labeler import label_reports

# Of each finding whether it is there, of each control what is said of it, and whether an age is.
NUM_FACTS = len(FINDINGS) + len(CONTROLS) + 1
NUM_FACT_TOKENS = len(FINDINGS) + 1
# The facts finding by finding, each with what is said of it, then those of the film; and the token of each.
_THERE, _SAID, _OF_FILM = np.split(np.arange(NUM_FACTS), [len(FINDINGS), len(FINDINGS) * (1 + len(ASPECTS))])
_ORDER = np.concatenate([np.column_stack([_THERE, _SAID.reshape(len(FINDINGS), -1)]).ravel(), _OF_FILM])
_TOKENS = len(FINDINGS) + 1
# The facts finding by finding, each with what is said of it, then those of the film; and the token of each.
_ORDER = [
    *(
        place
        for finding in range(len(FINDINGS))
        for place in (finding, *(len(FINDINGS) + len(ASPECTS) * finding + k for k in range(len(ASPECTS))))
    ),
    *range(len(FINDINGS) * (1 + len(ASPECTS)), NUM_FACTS),
]
_TOKENS = np.arange(NUM_FACTS) // (1 + len(ASPECTS))
_CODES = {POSITIVE: 1.0, UNCERTAIN: 0.5, NEGATIVE: -1.0}


def read_facts(texts: Sequence[str]) -> np.ndarray:
    """(N, NUM_FACTS) float32 in -1..1, 0 for what a text does not say.

    Findings are 1 present, .5 in doubt, -1 denied; sides, grades, sex and view (`data_module.controls`) 1 or
    -1; the age is -1 at 0 and 1 at 100 years, with a 1 behind it.
    """
    labels = label_reports(texts)
    facts = np.zeros((len(labels), NUM_FACTS), np.float32)
    for code, value in _CODES.items():
        facts[:, : len(FINDINGS)][labels == code] = value
    controls = read_controls(texts)
    said = controls != UNSAID
    facts[:, len(FINDINGS) : -1] = np.where(said, 2 * controls - 1, 0.0)
    facts[:, -1] = said[:, CONTROLS.index("age / 100")]
    return facts


def split_facts(facts: np.ndarray, width: int) -> np.ndarray:
    """Facts (N, NUM_FACTS) -> tokens (N, NUM_FACT_TOKENS, width >= 6): one for each finding, of whether it is
    there, its sides and its grades, and a last one of sex, view and age.

    Each fact has a place of its own, as far as the width goes: left of one finding is not left of another.
    """
    tokens = np.zeros((len(facts), NUM_FACT_TOKENS, width), np.float32)
    tokens[:, _TOKENS, np.arange(NUM_FACTS) % width] = facts[:, _ORDER]
    return tokens
