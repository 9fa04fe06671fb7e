"""Formats that another library reads: pysteps' importers, and what GDAL opens."""
