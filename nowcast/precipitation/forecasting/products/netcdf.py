"""A forecast as CF-netCDF, for xarray and whatever else reads netCDF-4.

Dimensions ``time`` (valid time), ``y`` from north to south, ``x``. Variables ``rainfall_rate``
(mm/h) and ``reflectivity`` (dBZ), missing where the newest frame had no data; no rain is 0 mm/h and
-10 dBZ, the lowest of the pixels' scale. Coordinates ``forecast_reference_time`` (the init time),
``lead_time`` and, where the place is known, ``crs``, ``lat`` and ``lon``. The attributes
``nowcast_description`` and ``nowcast_facts`` are JSON.
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
from nowcast.precipitation.forecasting.products.georeference import Attributes, georeference
from nowcast.precipitation.forecasting.products.result import Forecast

CONVENTIONS = "CF-1.11"
FILL = np.float32(-9999.0)
TIME_UNITS = "minutes since 1970-01-01 00:00:00"  # 32 bits of minutes last until 6053
FIELD = ("time", "y", "x")


def write_netcdf(forecast: Forecast, path: Path) -> None:
    """Write a forecast as CF-netCDF (netCDF-4, classic model); the module says what it holds.

    It is made in memory: HDF5 that meets a full disk brings the process down some time later.
    """
    description = forecast.description
    place = georeference(description.grid, description.height, description.width)
    init, times = (
        moments.astype("datetime64[m]").astype(np.int32)
        for moments in (forecast.init, forecast.times)
    )
    coordinates = "forecast_reference_time lead_time"
    image = BytesIO()
    with h5netcdf.File(image, "w", format="NETCDF4_CLASSIC") as file:
        file.attrs.update(_about(forecast))
        file.dimensions = dict(zip(FIELD, forecast.pixels.shape, strict=True))
        _add(file, "time", ("time",), times, _clock("time", "valid time") | {"axis": "T"})
        reference = _clock("forecast_reference_time", "init time: that of the newest frame")
        _add(file, "forecast_reference_time", (), init, reference)
        lead = {"standard_name": "forecast_period", "long_name": "lead time", "units": "minutes"}
        _add(file, "lead_time", ("time",), times - init, lead)
        _add(file, "y", ("y",), place.y.centres, place.y.attributes)
        _add(file, "x", ("x",), place.x.centres, place.x.attributes)
        if place.latitude is not None and place.longitude is not None:
            coordinates += " lat lon"
            _add_packed(file, "lat", FIELD[1:], place.latitude, _degrees("latitude", "north"))
            _add_packed(file, "lon", FIELD[1:], place.longitude, _degrees("longitude", "east"))
        common = {"coordinates": coordinates}
        if place.mapping is not None:
            _add(file, "crs", (), np.int32(0), place.mapping)
            common["grid_mapping"] = "crs"
        for name, values, meaning in (
            ("rainfall_rate", forecast.rate_at, _rate(forecast)),
            ("reflectivity", forecast.dbz_at, _reflectivity(forecast)),
        ):
            variable = _packed(file, name, FIELD, forecast.pixels.shape, meaning | common)
            for position in range(len(forecast.pixels)):
                variable[position] = np.where(forecast.mask, values(position), FILL)
    path.write_bytes(image.getbuffer())


def _add(
    file: h5netcdf.File,
    name: str,
    dimensions: tuple[str, ...],
    data: Any,
    attributes: Attributes,
    **storage: Any,
) -> None:
    variable = file.create_variable(name, dimensions, data.dtype, data=data, **storage)
    variable.attrs.update(attributes)


def _add_packed(
    file: h5netcdf.File,
    name: str,
    dimensions: tuple[str, ...],
    data: Float32[np.ndarray, "..."],
    attributes: Attributes,
) -> None:
    """A compressed field; NaN becomes the fill value."""
    variable = _packed(file, name, dimensions, data.shape, attributes)
    variable[...] = np.where(np.isnan(data), FILL, data)


def _packed(
    file: h5netcdf.File,
    name: str,
    dimensions: tuple[str, ...],
    shape: tuple[int, ...],
    attributes: Attributes,
) -> h5netcdf.Variable:
    """A compressed field without values yet, a chunk a frame."""
    variable = file.create_variable(
        name,
        dimensions,
        np.dtype(np.float32),
        fillvalue=FILL,
        chunks=(1,) * (len(shape) - 2) + shape[-2:],
        compression="gzip",
        compression_opts=4,
        shuffle=True,
    )
    variable.attrs.update(attributes)
    return variable


def _clock(standard_name: str, long_name: str) -> Attributes:
    return {
        "standard_name": standard_name,
        "long_name": long_name,
        "units": TIME_UNITS,
        "calendar": "standard",
        "units_metadata": "leap_seconds: none",
    }


def _degrees(name: str, towards: str) -> Attributes:
    return {"standard_name": name, "long_name": name, "units": f"degrees_{towards}"}


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
