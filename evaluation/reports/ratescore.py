"""RaTEScore: do two reports name the same entities, of the same types? Asked for by --ratescore.

Zhao et al., EMNLP 2024: each entity of one report is compared with the nearest of the other, and both ways
are put together as an F1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.metric import Figure, Metric
from evaluation.reports.inputs import ReportInputs

# How much an entity of a row's type counts whose nearest one is of a column's; the published "long" matrix,
# in the order of TYPES: anatomy, abnormality, disease, non-abnormality, non-disease.
AFFINITY = np.array(
    [
        [0.2856134859160784, 0.7487824274337533, 0.4592143222158069, 0.02097055139911715, 0.0001373631412669],
        [0.6240929990607657, 0.4276119164393705, 0.0034478181112994, 0.5431049700217344, 0.27005425386213877],
        [0.9950209388542061, 0.8396510075734789, 0.8460555030578727, 0.9820689020512646, 0.3789136708096537],
        [0.0186706106918528, 0.1654676465369291, 0.719397354576018, 0.0009357166071731, 0.0927333564267591],
        [0.1839139293714062, 0.7759420231214385, 0.1007304607631816, 0.0386018381187637, 0.34065681486566446],
    ]
)
# What is left of a similarity where one is asserted and the other denied: in the package RaTEScore since
# 0.6.0 (May 2025), and before.
OPPOSITE, OPPOSITE_BEFORE = 0.8716553966489615, 0.3612
NO_ENTITY = 0.5  # the score where a report has none
_ASSERTED, _DENIED = (1, 2), (3, 4)  # places of TYPES


def weigh_entities(
    cosines: np.ndarray, types: np.ndarray, nearest: np.ndarray, opposite: float = OPPOSITE
) -> float:
    """How well one report's entities are found in the other: a mean of cosines, weighted by types.

    Args:
        cosines: (N,) of each entity with the nearest one of the other report, N at least 1.
        types, nearest: (N,) places of TYPES, of the entity and of that nearest one.
    """
    opposed = np.isin(types, _ASSERTED) & np.isin(nearest, _DENIED)
    opposed |= np.isin(types, _DENIED) & np.isin(nearest, _ASSERTED)
    weights = AFFINITY[types, nearest]
    return float((cosines * np.where(opposed, opposite, 1.0) * weights).sum() / weights.sum())


def score_ratescore(
    references: Sequence[str],
    hypotheses: Sequence[str],
    tagger: Path,
    encoder: Path,
    device: str = "cpu",
    opposites: Sequence[float] = (OPPOSITE, OPPOSITE_BEFORE),
) -> tuple[np.ndarray, int]:
    """RaTEScore of N pairs of reports for each of `opposites`, (K, N); and how many pairs lack an entity.

    Args:
        tagger, encoder: folders of RaTE-NER and of BioLORD.

    Raises:
        ValueError: a folder that holds something else.
    """
    from evaluation.networks.report_entities import TYPES, EntityEncoder, EntityTagger, find_nearest
    from runtime.devices import resolve_device

    found = EntityTagger(tagger, resolve_device(device))([*references, *hypotheses])
    encode = EntityEncoder(encoder, resolve_device(device))
    embedded = encode([words for entities in found for words, _ in entities])
    ends = np.cumsum([len(entities) for entities in found])
    rows = [embedded[end - len(entities) : end] for entities, end in zip(found, ends, strict=True)]
    types = [np.array([TYPES.index(kind) for _, kind in entities], int) for entities in found]
    num = len(references)
    scores = np.full((len(opposites), num), NO_ENTITY)
    compared = [row for row in range(num) if len(rows[row]) and len(rows[num + row])]
    for row in compared:
        ways: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for own, other in ((row, num + row), (num + row, row)):
            cosines, places = find_nearest(rows[own], rows[other])
            ways.append((cosines, types[own], types[other][places]))
        for place, opposite in enumerate(opposites):
            a, b = (weigh_entities(*way, opposite=opposite) for way in ways)
            scores[place, row] = 2.0 * a * b / (a + b) if a + b else 0.0
    return scores, num - len(compared)


def _compute(reports: ReportInputs) -> Figure:
    folders = reports.settings.ratescore
    if len(folders) != 2:
        raise ValueError(
            "--ratescore: give two folders, of RaTE-NER and of BioLORD (or another text encoder)"
        )
    texts = reports.rexrank_references, reports.generated_reports
    (each, before), without = score_ratescore(
        *texts, Path(folders[0]), Path(folders[1]), reports.settings.device
    )
    more = {"ratescore_before_0_6": float(before.mean()), "num_without_entities": without}
    return Figure(float(each.mean()), each=each, more=more)


METRICS = (
    Metric(
        key="ratescore",
        title="RaTEScore",
        section="reports",
        direction="higher",
        convention="mean over reports; harmonic mean of both ways; the published matrix for long reports; "
        "0.5 where a report has no entity (num_without_entities); what denies what the other "
        "asserts keeps 0.87 of its similarity as in the package since 0.6.0, 0.36 in "
        "ratescore_before_0_6, with which figures of before May 2025 compare; sentences by our "
        "own splitter in the place of medspacy's; the real report with the headings Findings: and "
        "Impression:",
        source="Zhao et al., EMNLP 2024, as the package RaTEScore 0.6.0 counts it",
        needs=("texts",),
        compute=_compute,
        flag="ratescore",
    ),
)
