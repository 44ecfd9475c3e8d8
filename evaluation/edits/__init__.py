"""Edited films against exact counterfactuals."""
