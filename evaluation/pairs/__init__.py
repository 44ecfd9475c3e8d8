"""Metrics of pairs: do prompt, film and report agree?"""

METRIC_FILES = ("agreement", "clip_scores", "retrieval")
