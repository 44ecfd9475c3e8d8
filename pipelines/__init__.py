"""What composes the modules: pairs from prompts, reports from films, and what the prior learns from."""
