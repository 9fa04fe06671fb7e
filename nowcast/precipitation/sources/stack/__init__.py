"""netCDF, Zarr and HDF5 stacks: many frames in one array."""
