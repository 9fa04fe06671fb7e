"""Forecasts from input frames: networks and extrapolation."""
