"""A folder as `watch` leaves it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from nowcast.core.storage.files import write_json
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.forecasting.products.outlet import Outlet
from nowcast.precipitation.forecasting.products.result import Forecast, Observed
from nowcast.precipitation.forecasting.products.written import write
from tests.made_forecasts import KNMI, made

INIT = np.datetime64("2026-07-01T23:50")


def with_observed(
    leads: int = 3,
    height: int = 6,
    width: int = 8,
    grid: Grid | None = KNMI,
    members: int | None = None,
    init: str = str(INIT),
) -> Forecast:
    """A forecast and two frames before it."""
    forecast = made(leads, height, width, init=init, grid=grid, members=members)
    times = forecast.init + np.array([-5, 0], "m8[m]")
    seen = forecast.pixels[:2, ::-1].copy()
    return replace(forecast, observed=Observed(times, seen, np.stack([forecast.mask] * 2)))


def put(out: Path, forecast: Forecast) -> None:
    """As `watch` writes it."""
    out.mkdir(exist_ok=True)
    Outlet(out, partial(write, formats=["nc"])).put(forecast)
    health = {"state": "ok", "rung": "network", "rung_reason": "", "latency_seconds": {"p50": 2}}
    write_json(out / "health.json", health)
