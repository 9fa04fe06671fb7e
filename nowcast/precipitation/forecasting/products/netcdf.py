"""A forecast as CF-netCDF, for xarray, GDAL and whatever else reads netCDF-4: that of `dataset`."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf

from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.dataset import to_dataset
from nowcast.precipitation.forecasting.products.result import Forecast

if TYPE_CHECKING:
    import xarray


def write_netcdf(forecast: Forecast, path: Path, found: Probabilities | None = None) -> None:
    """Write a forecast as CF-netCDF (netCDF-4, classic model); `dataset` says what it holds.

    Args:
        forecast: what to write.
        path: of the file.
        found: what is made of its members, if it has some.
    """
    save(to_dataset(forecast, found), path)


def save(dataset: "xarray.Dataset", path: Path, encoding: dict[str, Any] | None = None) -> None:
    """Write a Dataset as netCDF-4, classic model, its attributes' text as UTF-8.

    It is made in memory: HDF5 that meets a full disk brings the process down some time later.
    """
    image = BytesIO()
    dataset.to_netcdf(image, format="NETCDF4_CLASSIC", engine="h5netcdf", encoding=encoding)
    with h5netcdf.File(image, "a") as file:  # xarray says of UTF-8 that it is ASCII
        for name, value in dataset.attrs.items():
            if not value.isascii():
                file.attrs[name] = value
    path.write_bytes(image.getbuffer())
