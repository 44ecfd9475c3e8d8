"""Metrics of reports: clinical F1, word overlap, learned scores."""
