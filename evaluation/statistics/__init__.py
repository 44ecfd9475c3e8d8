"""Findings counted, patients resampled, figures as functions of weights."""
