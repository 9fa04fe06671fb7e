"""The frames that a forecast starts from, as CF-netCDF beside it: what a reader shows before it."""

from pathlib import Path
from typing import Any

import numpy as np

from nowcast.precipitation.forecasting.products.dataset import CONVENTIONS, FIELD, FILL, TIME_UNITS
from nowcast.precipitation.forecasting.products.georeference import georeference
from nowcast.precipitation.forecasting.products.netcdf import save
from nowcast.precipitation.forecasting.products.result import Forecast


def write_observed(forecast: Forecast, path: Path) -> None:
    """Write ``rainfall_rate`` (mm/h) over ``time``, ``y`` and ``x``, missing where a frame has no
    data; coordinates as in `netcdf`. ``forecast.observed`` is not None."""
    import xarray as xr  # takes a second, and only this needs it

    observed, description = forecast.observed, forecast.description
    assert observed is not None
    rates = description.calibration.rate_from_pixel(observed.pixels)
    grid, mapping = georeference(description.grid, description.height, description.width)
    rate = {"long_name": "observed rain rate", "units": "mm h-1"}
    if description.note is None:
        rate["standard_name"] = "lwe_precipitation_rate"
    clock = {
        "standard_name": "time",
        "long_name": "valid time",
        "units": TIME_UNITS,
        "calendar": "standard",
        "axis": "T",
    }
    times = observed.times.astype("datetime64[m]").astype(np.int32)
    dataset = xr.Dataset(
        {"rainfall_rate": (FIELD, np.where(observed.mask, rates, np.nan).astype("f4"), rate)},
        coords={"time": ("time", times, clock), **grid},
        attrs={
            "Conventions": CONVENTIONS,
            "title": f"Rain observed by {description.name} until {forecast.init}Z",
            "source": "weather radar",
            "institution": description.credit,
        },
    )
    if mapping is not None:
        dataset["rainfall_rate"].attrs["grid_mapping"] = "crs"
        dataset["crs"] = ((), np.int32(0), mapping, {"coordinates": None})
    packed: dict[str, Any] = {"zlib": True, "complevel": 4, "shuffle": True, "_FillValue": FILL}
    encoding: dict[str, dict[str, Any]] = {
        str(name): packed if variable.dims[-2:] == FIELD[1:] else {"_FillValue": None}
        for name, variable in dataset.variables.items()
        if name != "crs"
    }
    save(dataset, path, encoding)
