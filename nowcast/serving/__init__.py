"""Forecasts in a browser and over HTTP, from the files that `forecast` and `watch` write."""
