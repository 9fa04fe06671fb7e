"""How much it rains and where, in words."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.render import BANDS

DRY_MM_H = BANDS[1][0]  # less is no rain, nor is it drawn


class Peak(NamedTuple):
    """The largest value of a field.

    Args:
        value: in the field's unit.
        row: from the north.
        column: from the west.
        degrees: latitude and longitude of the pixel's middle; None where they are not known.
    """

    value: float
    row: int
    column: int
    degrees: tuple[float, float] | None

    @property
    def place(self) -> dict[str, int | float]:
        """Its place for ``forecast.json``."""
        found: dict[str, int | float] = {"row": self.row, "column": self.column}
        if self.degrees is not None:
            latitude, longitude = self.degrees
            found |= {"latitude": round(latitude, 4), "longitude": round(longitude, 4)}
        return found

    @property
    def where(self) -> str:
        """Its place in words."""
        pixel = f"row {self.row}, column {self.column}"
        if self.degrees is None:
            return f"in {pixel}"
        return f"at {in_degrees(*self.degrees)} ({pixel})"


def in_degrees(latitude: float, longitude: float) -> str:
    """Such as ``52.10°N 5.18°E``."""
    north, east = "NS"[latitude < 0], "EW"[longitude < 0]
    return f"{abs(latitude):.2f}°{north} {abs(longitude):.2f}°{east}"


def peak(field: Float[np.ndarray, "height width"], description: Description) -> Peak | None:
    """The largest value of a field that is NaN where there is no data; None where there is none."""
    if not np.isfinite(field).any():
        return None
    row, column = (int(at) for at in np.unravel_index(np.nanargmax(field), field.shape))
    found = None
    grid = description.grid
    if grid is not None and description.grid_fault is None:
        place = [float(each) for each in grid.degrees(np.array(row + 0.5), np.array(column + 0.5))]
        found = (place[0], place[1]) if np.isfinite(place).all() else None
    return Peak(float(field[row, column]), row, column, found)


def rain_in_words(
    rate_mm_h: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
    description: Description,
) -> str:
    """Mean and largest rain rate of a frame, and where the largest is; or that it is dry.

    Args:
        rate_mm_h: of a frame.
        mask: True = data.
        description: of the archive.
    """
    known = np.where(mask, rate_mm_h, np.nan)
    largest = peak(known, description)
    if largest is None:
        return "no data"
    if largest.value < DRY_MM_H:
        return f"dry: less than {DRY_MM_H:g} mm/h everywhere"
    return f"mean {np.nanmean(known):.2f} mm/h, largest {largest.value:.1f} mm/h {largest.where}"


def lead_in_words(forecast: Forecast, position: int) -> str:
    """`rain_in_words` of one lead time, the first is 0."""
    minutes = (position + 1) * forecast.description.step_minutes
    rain = rain_in_words(forecast.rate_at(position), forecast.mask, forecast.description)
    return f"+{minutes} min: {rain}"
