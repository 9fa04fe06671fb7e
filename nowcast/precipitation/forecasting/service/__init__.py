"""Forecasts from a feed, for months."""
