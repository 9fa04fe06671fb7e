"""A recurrent network that moves with the rain."""
