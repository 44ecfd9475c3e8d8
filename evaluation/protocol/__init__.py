"""Published benchmarks' protocols, step by step as their scripts do: `python -m evaluation protocol`."""
