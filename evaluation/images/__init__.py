"""Metrics of films: distances of features, coverage, diversity, findings."""
