"""Where the world's lines and cities lie in the frames of an archive."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.pictures.world import KINDS, world

EARTH_KM = 6371.0
NEAR = 1.1  # times the distance from a frame's middle to its farthest corner

Line = tuple[str, Float64[np.ndarray, "_ 2"]]  # of `KINDS`; column and row of its points


@dataclass(frozen=True)
class Located:
    """What lies in and around a frame.

    Args:
        lines: coasts, borders and lakes.
        places: column and row of cities, the largest first.
        names: of these.
    """

    lines: tuple[Line, ...]
    places: Float64[np.ndarray, "place 2"]
    names: tuple[str, ...]


def located(description: Description) -> Located | None:
    """What lies in the frames of an archive; None where nothing says where that is."""
    if description.grid is None or description.grid_fault is not None:
        return None
    return _on(description.grid, description.height, description.width)


@lru_cache(maxsize=4)
def _on(grid: Grid, height: int, width: int) -> Located:
    whole = world()
    across, down = np.linspace(0, width, 33), np.linspace(0, height, 33)
    edge = grid.degrees(
        np.concatenate([0 * across, 0 * across + height, down, down]),
        np.concatenate([across, across, 0 * down, 0 * down + width]),
    )
    middle = grid.degrees(np.array(height / 2), np.array(width / 2))
    around = np.nanmax(_apart_km(middle, np.where(np.isfinite(edge), edge, np.nan)))

    def within(points: Float64[np.ndarray, "_ 2"]) -> np.ndarray:
        # Beyond, some projections fold the far side of the Earth into the frame.
        if not np.isfinite(around):
            return np.ones(len(points), dtype=bool)
        return np.asarray(_apart_km(middle, points.T[::-1]) <= NEAR * around)

    def pixels(points: Float64[np.ndarray, "_ 2"]) -> Float64[np.ndarray, "point 2"]:
        row, column = grid.pixels(points[:, 1], points[:, 0], width)
        return np.stack([column, row], axis=1)

    near = np.flatnonzero(within(whole.points))
    found, of = pixels(whole.points[near]), whole.line[near]
    # A line is cut where it leaves the neighbourhood, the map, or the map's other side.
    jump = np.abs(np.diff(found, axis=0)).max(1, initial=0) > max(height, width)
    cut = (np.diff(near) > 1) | (np.diff(of) > 0) | ~(np.isfinite(found).all(1)[1:]) | jump
    parts = np.split(np.arange(len(found)), 1 + np.flatnonzero(cut))
    lines = tuple(
        (KINDS[whole.kind[of[part[0]]]], found[part])
        for part in parts
        if len(part) > 1 and np.isfinite(found[part]).all()
    )
    cities = np.flatnonzero(within(whole.places))
    places = pixels(whole.places[cities])
    inside = ((places > 0) & (places < (width, height))).all(1)
    return Located(lines, places[inside], tuple(whole.names[city] for city in cities[inside]))


def _apart_km(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray] | np.ndarray
) -> Float64[np.ndarray, "*_"]:
    """Great-circle distance of places as (latitude, longitude), on a sphere."""
    (lat, lon), (lats, lons) = np.radians(one), np.radians(other)
    half = (
        np.sin((lats - lat) / 2) ** 2 + np.cos(lat) * np.cos(lats) * np.sin((lons - lon) / 2) ** 2
    )
    return np.asarray(2 * EARTH_KM * np.arcsin(np.sqrt(half.clip(0, 1))))
