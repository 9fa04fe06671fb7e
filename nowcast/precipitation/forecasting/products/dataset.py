"""A forecast as an xarray.Dataset that says by the CF conventions what its numbers are.

Dimensions ``time`` (valid time), ``y`` from north to south, ``x``. Variables ``rainfall_rate``
(mm/h), ``rainfall_amount`` (mm since the init time), ``arrival_time`` (minutes until it rains) and
``reflectivity`` (dBZ), missing where the newest frame had no data; no rain is 0 mm/h and -10 dBZ,
the lowest of the pixels' scale. Coordinates ``forecast_reference_time`` (the init time),
``lead_time`` and, where the grid is stated, ``lat`` and ``lon``; then ``crs`` is the grid mapping.
The bounds of ``time`` and ``lead_time`` are those of the amounts; rates are of the time itself.
The attributes ``nowcast_description`` and ``nowcast_facts`` are JSON. What there is of members:
`ensemble_netcdf`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Shaped

from nowcast import __version__
from nowcast.precipitation.forecasting.probabilities.arrival import (
    ARRIVAL_MM_H,
    first_minutes,
)
from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.products.content import (
    FIELD,
    GRID_MAPPING,
    Content,
    Variables,
    on_map,
)
from nowcast.precipitation.forecasting.products.ensemble.netcdf import ensemble_variables
from nowcast.precipitation.forecasting.products.georeference import Attributes, georeference
from nowcast.precipitation.forecasting.products.result import Forecast

if TYPE_CHECKING:
    import xarray

CONVENTIONS = "CF-1.11"


def to_dataset(forecast: Forecast, found: Probabilities | None = None) -> "xarray.Dataset":
    """The forecast; the module says what is in it.

    Args:
        forecast: what to hand on.
        found: what is made of its members, if it has some.
    """
    import xarray as xr  # takes a second, and only this needs it

    content = content_of(forecast, found)
    variables, coordinates, attributes = content
    dataset = xr.Dataset(variables, coords=coordinates, attrs=attributes)
    for name in content.all:  # so that a user's own ``to_netcdf`` writes it so, too
        dataset.variables[name].encoding = content.encoding(name)
    if GRID_MAPPING in variables:
        dataset[GRID_MAPPING].encoding["coordinates"] = None
    return dataset


def content_of(forecast: Forecast, found: Probabilities | None = None) -> Content:
    """What `to_dataset` and the netCDF file hold."""
    description = forecast.description
    grid, mapping = georeference(description.grid, description.height, description.width)
    rate = _rate(forecast)
    variables: Variables = {}
    coordinates: Variables = {}
    if found is None:
        rates = _masked(forecast, forecast.rate_mm_h())
        variables["rainfall_rate"] = (FIELD, rates, rate)
        mean, members = rates, rates[None]
    else:
        variables, coordinates = ensemble_variables(forecast, found, rate)
        mean, members = found.mean, variables["rainfall_rate"][1]
    variables |= _amount(forecast, mean, found is not None)
    variables["arrival_time"] = _arrival(forecast, members)
    dbz = _masked(forecast, forecast.dbz())
    variables["reflectivity"] = (FIELD, dbz, _reflectivity(forecast))
    minutes = _lead_minutes(forecast)
    variables["time_bounds"] = (("time", "bound"), _bounds(forecast), {})
    variables["lead_time_bounds"] = (("time", "bound"), np.stack([0 * minutes, minutes], 1), {})
    coordinates = {
        "time": (("time",), forecast.times.astype("datetime64[ns]"), _valid_time()),
        "forecast_reference_time": ((), np.array(forecast.init, "datetime64[ns]"), {**_INIT}),
        "lead_time": (("time",), minutes, {**_LEAD}),
        **coordinates,
        **grid,
    }
    return Content(on_map(variables, mapping), coordinates, _about(forecast))


def _masked(
    forecast: Forecast, values: Float32[np.ndarray, "lead height width"]
) -> Float32[np.ndarray, "lead height width"]:
    values[:, ~forecast.mask] = np.nan
    return values


def _amount(
    forecast: Forecast, rates: Float32[np.ndarray, "lead height width"], of_members: bool
) -> Variables:
    """The rain since the init time; each lead time's rate lasts for the step before it."""
    amounts = np.cumsum(rates, axis=0, dtype=np.float64) * (forecast.description.step_minutes / 60)
    note = forecast.description.note
    attributes: Attributes = {
        "long_name": "rain since the init time" if note is None else "nominal rain",
        "units": "mm",
        "cell_methods": "time: sum" + " realization: mean" * of_members,
        "comment": note or "each lead time's rain rate lasts for the step before it",
    }
    if note is None:
        attributes["standard_name"] = "lwe_thickness_of_precipitation_amount"
    name = "rainfall_amount_mean" if of_members else "rainfall_amount"
    return {name: (FIELD, amounts.astype(np.float32), attributes)}


def _arrival(forecast: Forecast, members: Float32[np.ndarray, "member lead height width"]) -> Any:
    minutes = first_minutes(members, _lead_minutes(forecast).tolist(), ARRIVAL_MM_H)
    of_half = "" if forecast.members is None else " in half of the members"
    name = f"minutes until the rain rate first reaches {ARRIVAL_MM_H:g} mm/h{of_half}"
    comment = "missing where it does not within the forecast, and where there is no data"
    return FIELD[1:], minutes, {"long_name": name, "units": "minutes", "comment": comment}


def _lead_minutes(forecast: Forecast) -> Shaped[np.ndarray, " lead"]:
    return (forecast.times - forecast.init).astype("timedelta64[m]").astype(np.int32)


def _bounds(forecast: Forecast) -> Shaped[np.ndarray, "lead 2"]:
    """From the init time to each valid time."""
    times = forecast.times.astype("datetime64[ns]")
    return np.stack([np.full_like(times, forecast.init.astype("datetime64[ns]")), times], axis=1)


def _valid_time() -> Attributes:
    return {
        "standard_name": "time",
        "long_name": "valid time",
        "units_metadata": "leap_seconds: none",
        "axis": "T",
        "bounds": "time_bounds",
    }


_INIT: Mapping[str, str] = {
    "standard_name": "forecast_reference_time",
    "long_name": "init time: that of the newest frame",
    "units_metadata": "leap_seconds: none",
}
_LEAD: Mapping[str, str] = {
    "standard_name": "forecast_period",
    "long_name": "lead time",
    "units": "minutes",
    "bounds": "lead_time_bounds",
}


def _rate(forecast: Forecast) -> Attributes:
    """No standard name where the rate is nominal: it is not what the name promises."""
    description = forecast.description
    relation = f"Z = {description.zr_a:g} R^{description.zr_b:g}"
    rate = {"units": "mm h-1", "cell_methods": "time: point"}
    if description.note is not None:
        return {"long_name": "nominal rain rate", **rate, "comment": description.note}
    return {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "rain rate",
        **rate,
        "comment": f"from reflectivity by {relation}",
    }


def _reflectivity(forecast: Forecast) -> Attributes:
    note = forecast.description.note
    rest = {"units": "dBZ", "cell_methods": "time: point"}
    if note is not None:
        return {"long_name": "nominal reflectivity", **rest, "comment": note}
    return {
        "standard_name": "equivalent_reflectivity_factor",
        "long_name": "radar reflectivity",
        **rest,
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
