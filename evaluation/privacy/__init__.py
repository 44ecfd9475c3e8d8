"""Near-copies of training films and reports."""
