"""The series of one pixel: observed and forecast rain, its spread, probabilities."""

from typing import Any

import numpy as np

from nowcast.serving.content import RAIN, Content


class NotThere(ValueError):
    """The place is not in the frame; the message says what is."""


def pixel_of(content: Content, latitude: float, longitude: float) -> tuple[int, int]:
    """Row and column of a place.

    Raises:
        NotThere: it is outside, or nothing says where the pixels lie.
    """
    description = content.description
    if description.grid is None or description.grid_fault is not None:
        raise NotThere("the radar's archive does not state where it lies; ask by row and column")
    row, column = (
        float(each)
        for each in description.grid.pixels(
            np.array(latitude), np.array(longitude), description.width
        )
    )
    if not (np.isfinite(row) and np.isfinite(column)):
        raise NotThere(f"{latitude:g}, {longitude:g} is not on the radar's map")
    return checked(content, int(np.floor(row)), int(np.floor(column)))


def checked(content: Content, row: int, column: int) -> tuple[int, int]:
    """A pixel of the frame; raises NotThere where it is none."""
    height, width = content.description.height, content.description.width
    if not (0 <= row < height and 0 <= column < width):
        raise NotThere(
            f"expected a place within the radar's {height}x{width} pixels, found row {row}, "
            f"column {column}"
        )
    return row, column


def series(content: Content, row: int, column: int) -> dict[str, Any]:
    """What is known of a pixel; null where there is no data."""
    rain = content.layers[RAIN]
    minutes = content.minutes(rain)
    place: dict[str, Any] = {"row": row, "column": column, "latitude": None, "longitude": None}
    grid = content.description.grid
    if grid is not None and content.description.grid_fault is None:
        found = grid.degrees(np.array(row + 0.5), np.array(column + 0.5))
        if np.isfinite(found).all():
            place |= {"latitude": round(float(found[0]), 4), "longitude": round(float(found[1]), 4)}
    steps = []
    for number, time in enumerate(rain.times):
        lead = number - content.observed
        step: dict[str, Any] = {
            "time": f"{time}Z",
            "lead_minutes": int(minutes[number]),
            "kind": "observed" if lead < 0 else "forecast",
            "mm_h": _number(rain.values[number, row, column]),
        }
        if lead >= 0 and content.quantiles:
            step["quantiles_mm_h"] = {
                f"{level:g}": _number(values[lead, row, column])
                for level, values in content.quantiles.items()
            }
        probabilities = [layer for name, layer in content.layers.items() if name != RAIN]
        if lead >= 0 and probabilities:
            step["probability"] = {
                layer.name[1:]: _number(layer.values[lead, row, column]) for layer in probabilities
            }
        steps.append(step)
    return {"init": f"{content.init}Z", "model": content.model, **place, "series": steps}


def _number(value: np.float16) -> float | None:
    return None if np.isnan(value) else float(f"{float(value):.3g}")
