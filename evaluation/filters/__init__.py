"""Tests of single pairs: which draws of a generator are worth keeping."""
