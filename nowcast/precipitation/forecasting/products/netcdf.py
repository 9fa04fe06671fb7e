"""A forecast as CF-netCDF, for xarray and whatever else reads netCDF-4.

Dimensions ``time`` (valid time), ``y`` from north to south, ``x``. Variables ``rainfall_rate``
(mm/h) and ``reflectivity`` (dBZ), missing where the newest frame had no data; no rain is 0 mm/h and
-10 dBZ, the lowest of the pixels' scale. Coordinates ``forecast_reference_time`` (the init time),
``lead_time`` and, where the grid is stated, ``lat`` and ``lon``; then ``crs`` is the grid mapping.
The attributes ``nowcast_description`` and ``nowcast_facts`` are JSON. What there is of members:
`ensemble_netcdf`.
"""

import json
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
from jaxtyping import Float32

from nowcast import __version__
from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.ensemble_netcdf import (
    Variables,
    ensemble_variables,
)
from nowcast.precipitation.forecasting.products.georeference import Attributes, georeference
from nowcast.precipitation.forecasting.products.result import Forecast

CONVENTIONS = "CF-1.11"
FILL = np.float32(-9999.0)
TIME_UNITS = "minutes since 1970-01-01 00:00:00"  # 32 bits of minutes last until 6053
FIELD = ("time", "y", "x")


def write_netcdf(forecast: Forecast, path: Path, found: Probabilities | None = None) -> None:
    """Write a forecast as CF-netCDF (netCDF-4, classic model); the module says what it holds.

    Args:
        forecast: what to write.
        path: of the file.
        found: what is made of its members, if it has some.

    It is made in memory: HDF5 that meets a full disk brings the process down some time later.
    """
    import xarray as xr  # takes a second, and only this needs it

    description = forecast.description
    init, times = (
        moments.astype("datetime64[m]").astype(np.int32)
        for moments in (forecast.init, forecast.times)
    )
    lead = {"standard_name": "forecast_period", "long_name": "lead time", "units": "minutes"}
    grid, mapping = georeference(description.grid, description.height, description.width)
    variables: Variables = {
        "reflectivity": (FIELD, _masked(forecast, forecast.dbz()), _reflectivity(forecast)),
    }
    coordinates: Variables = {}
    if found is None:
        rates = _masked(forecast, forecast.rate_mm_h())
        variables = {"rainfall_rate": (FIELD, rates, _rate(forecast)), **variables}
    else:
        own, coordinates = ensemble_variables(forecast, found, _rate(forecast))
        variables = own | variables
    dataset = xr.Dataset(
        variables,
        coords={
            "time": ("time", times, _clock("time", "valid time") | {"axis": "T"}),
            "forecast_reference_time": (
                (),
                init,
                _clock("forecast_reference_time", "init time: that of the newest frame"),
            ),
            "lead_time": ("time", times - init, lead),
            **coordinates,
            **grid,
        },
        attrs=_about(forecast),
    )
    if mapping is not None:
        for field in dataset.data_vars.values():
            if field.dims[-2:] == FIELD[1:]:
                field.attrs["grid_mapping"] = "crs"
        dataset["crs"] = ((), np.int32(0), mapping, {"coordinates": None})
    encoding: dict[str, dict[str, Any]] = {
        name: {"_FillValue": None} for name in ("x", "y", *coordinates)
    }
    for name, variable in dataset.variables.items():
        if variable.dims[-2:] == FIELD[1:]:  # a chunk a frame
            encoding[str(name)] = {
                "_FillValue": FILL,
                "chunksizes": (1,) * (variable.ndim - 2) + variable.shape[-2:],
                "zlib": True,
                "complevel": 4,
                "shuffle": True,
            }
    image = BytesIO()
    dataset.to_netcdf(image, format="NETCDF4_CLASSIC", engine="h5netcdf", encoding=encoding)
    with h5netcdf.File(image, "a") as file:  # xarray says of UTF-8 that it is ASCII
        for name, value in dataset.attrs.items():
            if not value.isascii():
                file.attrs[name] = value
    path.write_bytes(image.getbuffer())


def _masked(
    forecast: Forecast, values: Float32[np.ndarray, "lead height width"]
) -> Float32[np.ndarray, "lead height width"]:
    values[:, ~forecast.mask] = np.nan
    return values


def _clock(standard_name: str, long_name: str) -> Attributes:
    return {
        "standard_name": standard_name,
        "long_name": long_name,
        "units": TIME_UNITS,
        "calendar": "standard",
        "units_metadata": "leap_seconds: none",
    }


def _rate(forecast: Forecast) -> Attributes:
    """No standard name where the rate is nominal: it is not what the name promises."""
    description = forecast.description
    relation = f"Z = {description.zr_a:g} R^{description.zr_b:g}"
    if description.note is not None:
        return {"long_name": "nominal rain rate", "units": "mm h-1", "comment": description.note}
    return {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "rain rate",
        "units": "mm h-1",
        "comment": f"from reflectivity by {relation}",
    }


def _reflectivity(forecast: Forecast) -> Attributes:
    note = forecast.description.note
    if note is not None:
        return {"long_name": "nominal reflectivity", "units": "dBZ", "comment": note}
    return {
        "standard_name": "equivalent_reflectivity_factor",
        "long_name": "radar reflectivity",
        "units": "dBZ",
        "comment": "-10 dBZ, the lowest of the scale, is no rain; 60 dBZ is 60 dBZ or more",
    }


def _about(forecast: Forecast) -> Attributes:
    """Attributes of the whole file."""
    description = forecast.description
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}"
    maker = f"nowcast {__version__}, forecaster {forecast.model}"
    return {
        "Conventions": CONVENTIONS,
        "title": f"Precipitation nowcast from {description.name}, init {forecast.init}Z",
        "institution": description.credit,
        "source": f"weather radar, forecast by {maker}",
        "history": "\n".join((f"{now} {maker}", *description.history)),
        "references": "CF conventions: https://cfconventions.org",
        "comment": description.note or "Missing where the newest frame had no data.",
        "nowcast_description": description.to_json(),
        "nowcast_facts": json.dumps(dict(forecast.facts), ensure_ascii=False, allow_nan=False),
    }
