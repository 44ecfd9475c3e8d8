"""Metrics of reports: clinical F1, word overlap, learned scores."""

METRIC_FILES = (
    *("clinical", "overlap", "meteor", "bert_score", "radgraph", "terms", "variety", "contradictions"),
    *("sentence_bleu", "rexrank_bert_score", "semb_score", "radgraph_json", "radcliq", "temporal"),
    *("ratescore", "green", "crimson"),
)
