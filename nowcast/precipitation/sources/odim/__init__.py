"""ODIM-HDF5, the European exchange format."""
