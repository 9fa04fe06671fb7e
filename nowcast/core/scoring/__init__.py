"""Scores as mergeable sums, and tables of them."""
