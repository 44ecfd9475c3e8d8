"""Metrics of pairs: do prompt, film and report agree?"""

METRIC_FILES = ("agreement", "contradictions", "clip_scores", "retrieval")
