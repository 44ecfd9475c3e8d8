"""Metrics of privacy: are synthetic films and reports copies of training ones?"""

METRIC_FILES = ("near_copies",)
