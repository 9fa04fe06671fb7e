"""What is written of a forecast's members: quantiles and probabilities in files and pictures."""
