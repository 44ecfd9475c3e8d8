"""Sources of films and reports; each makes a pairs folder."""
