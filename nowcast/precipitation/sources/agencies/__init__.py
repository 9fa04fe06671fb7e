"""Formats of one agency: KNMI's own HDF5, and SEVIR."""
