"""The files of a forecast."""
