"""Forecasts for tests of what is written of them."""

import numpy as np

from nowcast.precipitation.archive.description import Description, Grid, Quantity
from nowcast.precipitation.forecasting.probabilities.members import Members
from nowcast.precipitation.forecasting.products.result import Forecast

# KNMI's own: radii in km, so coordinates are in km too. Its corner is that of `made`'s frames.
KNMI = Grid(
    "+proj=stere +lat_0=90 +lon_0=0.0 +lat_ts=60.0 +a=6378.137 +b=6356.752 +x_0=0 +y_0=0",
    x_west=0.0,
    y_north=-3650.0,
    pixel_x=1.0,
    pixel_y=1.0,
)
LONGLAT = Grid("+proj=longlat +datum=WGS84", x_west=5.0, y_north=48.0, pixel_x=0.5, pixel_y=0.25)


def made(
    leads: int = 3,
    height: int = 6,
    width: int = 8,
    *,
    init: str = "2026-07-01T23:50",
    grid: Grid | None = None,
    quantity: Quantity = "reflectivity",
    seed: int = 0,
    members: int | None = None,
) -> Forecast:
    """Random rain, dry in the first column, without data in the last; 5 minutes a step. Members
    are the rain shifted by a column each."""
    pixels = np.random.default_rng(seed).random((leads, height, width), dtype=np.float32)
    pixels[:, :, 0] = 0
    mask = np.ones((height, width), dtype=bool)
    mask[:, -1] = False
    description = Description(
        "tiny", "Météo of the tests", 5, height, width, 200.0, 1.6, quantity, grid, ("made up",)
    )
    facts = {"weights": "none", "missing": ["2026-07-01T23:40"]}
    drawn = None
    if members is not None:
        shifted = [np.roll(pixels, member, axis=-1) for member in range(members)]
        drawn = Members(np.stack(shifted), 7)
    return Forecast(
        np.datetime64(init, "m"), pixels, mask, description, "persistence", facts, drawn
    )
