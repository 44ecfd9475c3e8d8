"""What every script shares: command line and presets, run folders, devices, files. Knows nothing of films.

Import from its modules: worker processes and `--help` must not wait for what they do not use.
"""
