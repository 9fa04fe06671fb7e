"""Settings searched for on the validation split."""
