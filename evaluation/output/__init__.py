"""Results for people: tables, page, plots, comparisons, summaries."""
