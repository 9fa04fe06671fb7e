"""A forecast in memory as a browser asks for it: frames by name, layers, series of a pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Int

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN

FORECAST, OBSERVED = "forecast.nc", "observed.nc"
RAIN = "rain"
LARGEST_FILE = 4 * 2**30  # bytes

Field = Float16[np.ndarray, "time height width"]  # half precision: three digits, half the memory


@dataclass(frozen=True)
class Layer:
    """One kind of map.

    Args:
        name: in an address: ``rain``, or ``p2`` for the probability of 2 mm/h or more.
        title: for people.
        values: rain in mm/h or a probability in [0, 1]; NaN where there is no data.
        times: valid time of each, UTC.
    """

    name: str
    title: str
    values: Field
    times: Moments


@dataclass(frozen=True)
class Content:
    """What is shown of a forecast.

    Args:
        init: its init time, UTC.
        description: of the radar's frames.
        model: the forecaster.
        summary: of ``forecast.json``.
        layers: by name; the first is rain, whose first frames may be observed.
        observed: how many of the rain's frames are.
        quantiles: level -> rain in mm/h of the members at each lead time; empty without members.
    """

    init: np.datetime64
    description: Description
    model: str
    summary: Mapping[str, Any]
    layers: Mapping[str, Layer]
    observed: int
    quantiles: Mapping[float, Field]

    @property
    def key(self) -> str:
        """Its init time as part of an address."""
        return str(self.init.astype("datetime64[m]")).replace("-", "").replace(":", "")

    def minutes(self, layer: Layer) -> Int[np.ndarray, " time"]:
        """Lead time of each frame of a layer; 0 or below is observed."""
        return np.asarray((layer.times - self.init).astype("timedelta64[m]").astype(int))


def read(folder: Path, summary: Mapping[str, Any]) -> Content:
    """A forecast's files.

    Raises:
        OSError, ValueError, KeyError: they are not what `nowcast forecast --format nc` writes.
    """
    import xarray as xr  # takes a second

    for name in (FORECAST, OBSERVED):
        path = folder / name
        if path.exists() and path.resolve().parent != folder:
            raise ValueError(f"{path} lies outside its folder")
    if not (folder / FORECAST).exists():
        raise ValueError(f"{folder}: expected {FORECAST}, found none; forecast with --format nc")
    if (folder / FORECAST).stat().st_size > LARGEST_FILE:
        raise ValueError(f"{folder / FORECAST}: expected at most 4 GiB")
    with xr.open_dataset(folder / FORECAST, engine="h5netcdf", decode_timedelta=False) as data:
        description = Description.from_json(data.attrs["nowcast_description"])
        when_made = data["forecast_reference_time"].values.astype("datetime64[m]")
        times = data["time"].values.astype("datetime64[m]")
        size = (len(times), description.height, description.width)
        rain = _rain(data, description)
        layers: dict[str, Layer] = {}
        for name in ("probability_of_exceedance_nearby", "probability_of_exceedance"):
            if name in data and not layers:
                for number, threshold in enumerate(data["threshold"].values.tolist()):
                    values = data[name][number].values.astype(np.float16)
                    within = " nearby" if name.endswith("nearby") else ""
                    title = f"probability of {threshold:g} mm/h or more{within}"
                    layers[f"p{threshold:g}"] = Layer(f"p{threshold:g}", title, values, times)
        quantiles = {}
        if "rainfall_rate_quantile" in data:
            for number, level in enumerate(data["quantile"].values.tolist()):
                quantiles[level] = data["rainfall_rate_quantile"][number].values.astype(np.float16)
    for values in (rain, *quantiles.values(), *(layer.values for layer in layers.values())):
        if values.shape != size:
            raise ValueError(
                f"{folder / FORECAST}: expected fields of {size}, found {values.shape}"
            )
    seen, when = _observed(folder / OBSERVED, size[1:])
    whole = np.concatenate([seen, rain]), np.concatenate([when, times])
    return Content(
        np.datetime64(when_made.item(), "m"),
        description,
        str(summary.get("model", "")),
        summary,
        {RAIN: Layer(RAIN, "rain", *whole), **layers},
        len(when),
        quantiles,
    )


def _rain(data: Any, description: Description) -> Field:
    """Rain rates of the one forecast that stands for members, if there are any."""
    rates = data["rainfall_rate"]
    if rates.ndim == 3:
        return np.asarray(rates.values.astype(np.float16))
    pixels = (data["reflectivity"].values - DBZ_AT_PIXEL_0) / DBZ_SPAN
    found = description.calibration.rate_from_pixel(pixels)
    return np.where(np.isnan(pixels), np.nan, found).astype(np.float16)


def _observed(path: Path, size: tuple[int, ...]) -> tuple[Field, Moments]:
    """The frames before a forecast; none where they are not kept."""
    import xarray as xr

    if not path.exists():
        return np.empty((0, *size), np.float16), np.empty(0, "datetime64[m]")
    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as data:
        values = data["rainfall_rate"].values.astype(np.float16)
        times = data["time"].values.astype("datetime64[m]")
    if values.shape != (len(times), *size):
        raise ValueError(f"{path}: expected frames of {size}, found {values.shape}")
    return values, times
