"""An archive packed into one file."""
