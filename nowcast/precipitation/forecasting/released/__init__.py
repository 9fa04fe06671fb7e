"""Trained weights that come with the package."""
