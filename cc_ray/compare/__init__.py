"""Questions and their answers, as Arrow tables."""
