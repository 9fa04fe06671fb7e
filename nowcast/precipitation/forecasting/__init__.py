"""Forecasting from the newest frames of one's own radar, with no truth needed."""
