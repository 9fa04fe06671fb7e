"""Coastlines, borders, lakes and cities of the Earth, from one file (`scripts/map_data.py`)."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float64, Int, UInt8

KINDS = ("coast", "border", "lake")
UNIT = 0.002  # degrees, of the numbers in the file
CREDIT = "Map: Natural Earth; places: GeoNames (CC BY 4.0)"


@dataclass(frozen=True)
class World:
    """Lines and places in degrees.

    Args:
        points: longitude and latitude of all points of all lines, one line after the other.
        line: which line each point is of.
        kind: of each line, an index into `KINDS`.
        places: longitude and latitude of cities of 100,000 people or more, the largest first.
        names: of these.
    """

    points: Float64[np.ndarray, "point 2"]
    line: Int[np.ndarray, " point"]
    kind: UInt8[np.ndarray, " line"]
    places: Float64[np.ndarray, "place 2"]
    names: tuple[str, ...]


@cache
def world() -> World:
    """The file, read once."""
    with files(__package__).joinpath("world.npz").open("rb") as file, np.load(file) as held:
        content = dict(held)
    counts = content["line_counts"]
    moves = np.insert(
        content["line_steps"].T.astype(np.int64), np.cumsum(counts) - counts, 0, axis=0
    )
    first = np.cumsum(counts + 1) - counts - 1  # the position of each line's first point
    moved = np.cumsum(moves, axis=0)
    line = np.repeat(np.arange(len(counts)), counts + 1)
    points = content["line_starts"][line] + moved - moved[first][line]
    return World(
        points * UNIT,
        line,
        content["line_kinds"],
        content["places"] * UNIT,
        tuple(content["names"].tobytes().decode().split("\n")),
    )
