"""Radar archives of other people, read as fields in order of time."""
