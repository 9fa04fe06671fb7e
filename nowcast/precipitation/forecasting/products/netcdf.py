"""A forecast as CF-netCDF, for xarray, GDAL and whatever else reads netCDF-4: that of `dataset`.
Beside it the frames that it starts from, which a reader shows before it.
"""

from pathlib import Path

import numpy as np

from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.content import FIELD, Content, on_map, save
from nowcast.precipitation.forecasting.products.dataset import CONVENTIONS, content_of
from nowcast.precipitation.forecasting.products.georeference import georeference
from nowcast.precipitation.forecasting.products.result import Forecast


def write_netcdf(forecast: Forecast, path: Path, found: Probabilities | None = None) -> None:
    """Write a forecast as CF-netCDF (netCDF-4, classic model); `dataset` says what it holds.

    Args:
        forecast: what to write.
        path: of the file.
        found: what is made of its members, if it has some.
    """
    save(content_of(forecast, found), path)


def write_observed(forecast: Forecast, path: Path) -> None:
    """Write ``rainfall_rate`` (mm/h) over ``time``, ``y`` and ``x``, missing where a frame has no
    data; coordinates as of the forecast. ``forecast.observed`` is not None."""
    observed, description = forecast.observed, forecast.description
    assert observed is not None
    rates = description.calibration.rate_from_pixel(observed.pixels)
    grid, mapping = georeference(description.grid, description.height, description.width)
    rate = {"long_name": "observed rain rate", "units": "mm h-1"}
    if description.note is None:
        rate["standard_name"] = "lwe_precipitation_rate"
    seen = np.where(observed.mask, rates, np.nan).astype(np.float32)
    clock = {"standard_name": "time", "long_name": "valid time", "axis": "T"}
    content = Content(
        on_map({"rainfall_rate": (FIELD, seen, rate)}, mapping),
        {"time": (("time",), observed.times.astype("datetime64[ns]"), clock), **grid},
        {
            "Conventions": CONVENTIONS,
            "title": f"Rain observed by {description.name} until {forecast.init}Z",
            "source": "weather radar",
            "institution": description.credit,
        },
    )
    save(content, path)
