"""Metrics of pairs: do prompt, film and report agree?"""
