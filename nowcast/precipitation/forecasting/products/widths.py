"""Widths of pictures, pixels; commands know them without what draws."""

WIDTH = 800  # where none is asked for
LEAST_WIDTH, LARGEST_WIDTH = 400, 4000
