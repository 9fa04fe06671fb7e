"""Radar files as they arrive, read as the frames of a forecast: the newest, at full precision."""
