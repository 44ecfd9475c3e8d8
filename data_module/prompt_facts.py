"""What the labeler reads from a prompt, as numbers that a denoiser can draw by."""

from collections.abc import Sequence

import numpy as np

from data_module.controls import CONTROLS, UNSAID, read_controls
from data_module.findings import FINDINGS, NEGATIVE, POSITIVE, UNCERTAIN
from data_module.labeler import label_reports

# Of each finding whether it is there, of each control what is said of it, and whether an age is.
NUM_FACTS = len(FINDINGS) + len(CONTROLS) + 1
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
