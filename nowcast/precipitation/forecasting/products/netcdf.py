"""A forecast as CF-netCDF, for xarray, GDAL and whatever else reads netCDF-4: that of `dataset`."""

from io import BytesIO
from pathlib import Path

import h5netcdf

from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.dataset import to_dataset
from nowcast.precipitation.forecasting.products.result import Forecast


def write_netcdf(forecast: Forecast, path: Path, found: Probabilities | None = None) -> None:
    """Write a forecast as CF-netCDF (netCDF-4, classic model); `dataset` says what it holds.

    It is made in memory: HDF5 that meets a full disk brings the process down some time later.

    Args:
        forecast: what to write.
        path: of the file.
        found: what is made of its members, if it has some.
    """
    dataset = to_dataset(forecast, found)
    image = BytesIO()
    dataset.to_netcdf(image, format="NETCDF4_CLASSIC", engine="h5netcdf")
    with h5netcdf.File(image, "a") as file:  # xarray says of UTF-8 that it is ASCII
        for name, value in dataset.attrs.items():
            if not value.isascii():
                file.attrs[name] = value
    path.write_bytes(image.getbuffer())
