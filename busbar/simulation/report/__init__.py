"""The report of a run: one HTML file with plots, which needs no network, no script and no other file."""
