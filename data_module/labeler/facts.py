"""What a report asserts, as numbers: its findings, and the side and grade of each."""

from collections.abc import Sequence

import numpy as np

from data_module.findings import FINDINGS, POSITIVE
from data_module.labeler.aggregation import label_reports
from data_module.labeler.attributes import NUM_ATTRIBUTES, attribute_labels

NUM_FACTS = len(FINDINGS) + NUM_ATTRIBUTES


def read_facts(reports: Sequence[str]) -> np.ndarray:
    """(N, NUM_FACTS) float32: 1 what a report asserts, else 0. The findings, then as `attribute_labels`."""
    present = label_reports(list(reports)) == POSITIVE
    told = attribute_labels(reports) == 1.0
    return np.concatenate([present, told], axis=1).astype(np.float32)
