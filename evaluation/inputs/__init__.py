"""What is scored: rows of pairs folders, plain folders of films, tables of reports."""
