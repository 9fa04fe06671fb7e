"""What is made of members, as variables of the Dataset of a forecast.

``rainfall_rate`` gets a dimension ``realization``. Beside it lie ``rainfall_rate_mean``,
``rainfall_rate_probability_matched_mean``, ``probability_of_exceedance`` (by ``threshold``, a
fraction) and ``rainfall_rate_quantile`` (by ``quantile``); of windows ``maximum_rainfall_rate_*``
(by ``window_max``) and ``rainfall_amount_*`` (by ``window_sum``, thresholds ``amount_threshold``),
whose coordinates are lead times with bounds. ``*_nearby`` is of rain within the radius.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from nowcast.precipitation.forecasting.probabilities.made import Probabilities, WindowFields
from nowcast.precipitation.forecasting.products.content import FIELD, Variables
from nowcast.precipitation.forecasting.products.georeference import Attributes
from nowcast.precipitation.forecasting.products.result import Forecast

EBERT = "Ebert 2001, doi:10.1175/1520-0493(2001)129<2461:AOAPMS>2.0.CO;2"


def ensemble_variables(
    forecast: Forecast, found: Probabilities, rate: Attributes
) -> tuple[Variables, Variables]:
    """Variables and coordinates.

    Args:
        forecast: with members.
        found: what is made of them.
        rate: attributes of a rain rate of this archive.
    """
    assert forecast.members is not None
    count = len(forecast.members.pixels)
    coordinates: Variables = {
        "realization": (
            ("realization",),
            np.arange(1, count + 1, dtype=np.int32),
            {"standard_name": "realization", "long_name": "member", "units": "1"},
        )
    }
    matched = f"probability-matched mean of the members: {EBERT}"
    variables: Variables = {
        "rainfall_rate": (("realization", *FIELD), _rates(forecast), rate),
        "rainfall_rate_mean": (
            FIELD,
            found.mean,
            {**rate, "cell_methods": "time: point realization: mean"},
        ),
        "rainfall_rate_probability_matched_mean": (
            FIELD,
            found.matched_mean,
            {**rate, "comment": matched},
        ),
    }
    if found.thresholds:
        coordinates["threshold"] = _thresholds("threshold", found.thresholds, "mm h-1")
        what = "share of the members with a rain rate at or above the threshold"
        shares = {"probability_of_exceedance": found.exceedance}
        if found.nearby is not None:
            shares["probability_of_exceedance_nearby"] = found.nearby
        for name, values in shares.items():
            variables[name] = (
                ("threshold", *FIELD),
                np.moveaxis(values, 1, 0),
                _share(what, found, name),
            )
    if found.request.quantiles:
        levels = np.array(found.request.quantiles, dtype=np.float64)
        named = {"long_name": "level of a quantile over the members", "units": "1"}
        coordinates["quantile"] = (("quantile",), levels, named)
        variables["rainfall_rate_quantile"] = (
            ("quantile", *FIELD),
            np.moveaxis(found.quantiles, 1, 0),
            {**_without_name(rate), "long_name": "quantile of the members' rain rates"},
        )
    for kind in ("max", "sum"):
        of_kind = [made for made in found.windows if made.window.kind == kind]
        if of_kind:
            _add_windows(variables, coordinates, kind, of_kind, found, rate)
    return variables, coordinates


def _add_windows(
    variables: Variables,
    coordinates: Variables,
    kind: str,
    windows: Sequence[WindowFields],
    found: Probabilities,
    rate: Attributes,
) -> None:
    axis, bounds = f"window_{kind}", f"window_{kind}_bounds"
    largest = kind == "max"
    stem = "maximum_rainfall_rate" if largest else "rainfall_amount"
    quantity = "largest rain rate" if largest else "rain that falls"
    threshold = "threshold" if largest else "amount_threshold"
    ends = np.array([made.window.minutes for made in windows], dtype=np.int32)
    coordinates[axis] = (
        (axis,),
        ends,
        {
            "standard_name": "forecast_period",
            "long_name": "end of the window that begins at the init time",
            "units": "minutes",
            "bounds": bounds,
        },
    )
    variables[bounds] = ((axis, "bound"), np.stack([0 * ends, ends], axis=1), {})
    if found.thresholds:
        if not largest:
            coordinates[threshold] = _thresholds(threshold, found.thresholds, "mm")
        what = f"share of the members whose {quantity} in the window is at or above the threshold"
        shares = {f"{stem}_probability": np.stack([made.exceedance for made in windows], 1)}
        near = [made.nearby for made in windows if made.nearby is not None]
        if near:
            shares[f"{stem}_probability_nearby"] = np.stack(near, 1)
        for name, values in shares.items():
            variables[name] = ((threshold, axis, "y", "x"), values, _share(what, found, name))
    if found.request.quantiles:
        attributes = {
            "long_name": f"quantile of the members' {quantity} in the window",
            "units": "mm h-1" if largest else "mm",
            "cell_methods": f"{axis}: {'maximum' if largest else 'sum'}",
        }
        if "standard_name" in rate:
            amount = "lwe_thickness_of_precipitation_amount"
            attributes["standard_name"] = rate["standard_name"] if largest else amount
        values = np.stack([made.quantiles for made in windows], 1)
        variables[f"{stem}_quantile"] = (("quantile", axis, "y", "x"), values, attributes)


def _rates(forecast: Forecast) -> Float32[np.ndarray, "member lead height width"]:
    """Rain rates of the members, mm/h; NaN where there is no data."""
    assert forecast.members is not None
    calibration = forecast.description.calibration
    rates = np.empty(forecast.members.pixels.shape, dtype=np.float32)
    for found, pixels in zip(rates, forecast.members.pixels, strict=True):
        for lead, frame in zip(found, pixels, strict=True):
            lead[:] = np.where(forecast.mask, calibration.rate_from_pixel(frame), np.nan)
    return rates


def _thresholds(name: str, values: Sequence[int | float], unit: str) -> tuple[Any, ...]:
    what = "rain rate" if unit == "mm h-1" else "rain"
    attributes = {"long_name": f"threshold of {what}", "units": unit}
    return (name,), np.array(values, dtype=np.float64), attributes


def _share(what: str, found: Probabilities, name: str) -> Attributes:
    within = f", anywhere within {found.request.radius}" if name.endswith("_nearby") else ""
    return {"long_name": f"probability: {what}{within}", "units": "1", "valid_range": _UNIT}


def _without_name(rate: Attributes) -> Attributes:
    return {key: value for key, value in rate.items() if key != "long_name"}


_UNIT = np.array([0, 1], dtype=np.float32)
