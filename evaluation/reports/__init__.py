"""Metrics of reports: clinical F1, word overlap, learned scores."""

METRIC_FILES = (
    "clinical",
    "overlap",
    "meteor",
    "bert_score",
    "radgraph",
    "terms",
    "variety",
    "contradictions",
)
