"""Are synthetic reports copied from training reports? Verbatim sentences and near-duplicate reports."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from data_module.labeler.text import read_statements
from evaluation.reports.overlap import normalize

MIN_WORDS = 8  # of a sentence: shorter ones ("the lungs are clear") are everyone's
MIN_OVERLAP = 0.8  # Jaccard overlap of word triples from which reports are near-duplicates
MAX_SHOWN = 20
BLOCK = 256


def _long_sentences(report: str) -> list[str]:
    sentences = (normalize(sentence) for sentence in read_statements(report))
    return [sentence for sentence in sentences if len(sentence.split()) >= MIN_WORDS]


def nearest_reports(reports: Sequence[str], training: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) largest Jaccard overlap of word triples with a training report, and (N,) that report's row."""
    triples = HashingVectorizer(
        ngram_range=(3, 3),
        binary=True,
        norm=None,  # pyright: ignore[reportArgumentType]  # scikit-learn has no annotations
        alternate_sign=False,
        token_pattern=r"\S+",
        n_features=2**22,
    )
    known = csr_matrix(triples.transform([normalize(text) for text in training]))
    known_sizes = np.asarray(known.sum(axis=1)).ravel()
    asked = csr_matrix(triples.transform([normalize(text) for text in reports]))
    overlaps, rows = np.zeros(len(reports)), np.zeros(len(reports), int)
    for start in range(0, len(reports), BLOCK):
        block = asked[start : start + BLOCK]
        shared = (block @ known.T).toarray()
        sizes = np.asarray(block.sum(axis=1)) + known_sizes[None]
        overlap = shared / np.maximum(sizes - shared, 1.0)
        rows[start : start + BLOCK] = overlap.argmax(axis=1)
        overlaps[start : start + BLOCK] = overlap.max(axis=1)
    return overlaps, rows


def _describe(reports: Sequence[str], sentences: set[str], training: Sequence[str]) -> dict[str, Any]:
    own = [sentence for report in reports for sentence in _long_sentences(report)]
    copied = [sentence for sentence in own if sentence in sentences]
    distinct, places = np.unique(np.array(reports, dtype=object).astype(str), return_inverse=True)
    overlaps, nearest = nearest_reports(distinct.tolist(), training)
    rows = nearest.tolist()
    whole = {normalize(text) for text in training}
    return {
        "num_reports": len(reports),
        "num_long_sentences": len(own),
        "share_verbatim_sentences": len(copied) / len(own) if own else None,
        "share_verbatim_reports": float(np.mean([normalize(text) in whole for text in reports])),
        "share_near_duplicates": float((overlaps[places] >= MIN_OVERLAP).mean()),
        "median_overlap": float(np.median(overlaps[places])),
        "nearest": [
            {
                "report": str(distinct[i]),
                "training_report": training[rows[i]],
                "overlap": float(overlaps[i]),
            }
            for i in np.argsort(-overlaps, kind="stable")[:MAX_SHOWN]
            if overlaps[i] >= MIN_OVERLAP
        ],
    }


def compare_copies(
    synthetic: Sequence[str], held_out: Sequence[str], training: Sequence[str]
) -> dict[str, Any] | None:
    """How much of the synthetic reports stands in training reports, beside the held-out real reports.

    Empty reports are left out; None where a side has none.
    """
    synthetic, held_out, training = (
        [text for text in texts if text.strip()] for texts in (synthetic, held_out, training)
    )
    if not (synthetic and held_out and training):
        return None
    sentences = {sentence for report in training for sentence in _long_sentences(report)}
    result = _describe(synthetic, sentences, training)
    real = _describe(held_out, sentences, training)
    return result | {f"{key}_real": value for key, value in real.items() if key != "nearest"}
