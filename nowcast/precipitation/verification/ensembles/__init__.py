"""How good an ensemble is: its members against the truth, as mergeable sums like all scores."""
