"""Frames and forecasts as pictures."""
