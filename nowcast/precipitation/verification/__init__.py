"""How good a forecast is: scores as mergeable sums."""
