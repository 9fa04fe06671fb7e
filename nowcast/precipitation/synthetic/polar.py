"""A frame as its radar scans it: what follows a beam or a circle is a straight line here."""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

RAYS = 720  # half a degree each


def range_and_azimuth(
    shape: tuple[int, int], radar: tuple[float, float] | None = None
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """Distance from the radar in pixels and azimuth in [0, 2 pi), clockwise from north.

    Args:
        shape: (height, width) of a frame, row 0 north.
        radar: its (row, column); the middle of the frame if None.
    """
    row, column = radar or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    down = np.arange(shape[0])[:, None] - row
    right = np.arange(shape[1])[None, :] - column
    return np.hypot(down, right), np.arctan2(right, -down) % (2 * np.pi)


class Polar:
    """Turns frames of one shape into rays by range bins of one pixel, and marks back.

    Args:
        shape: (height, width) of a frame.
        radar: (row, column) of the radar, inside the frame; its middle if None.
    """

    def __init__(self, shape: tuple[int, int], radar: tuple[float, float] | None = None) -> None:
        self.shape = shape
        self.radar = radar or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        distance, azimuth = range_and_azimuth(shape, radar)
        self.reach = round(float(distance.max()))  # px, to the farthest corner
        self._ray = np.rint(azimuth * RAYS / (2 * np.pi)).astype(np.int64) % RAYS
        self._bin = np.rint(distance).astype(np.int64)

    @cached_property
    def _places(self) -> tuple[Int[np.ndarray, "ray bin"], Int[np.ndarray, "ray bin"]]:
        azimuth = np.arange(RAYS)[:, None] * 2 * np.pi / RAYS
        distance = np.arange(self.reach + 1)[None, :]
        rows = np.rint(self.radar[0] - distance * np.cos(azimuth)).astype(np.int64)
        columns = np.rint(self.radar[1] + distance * np.sin(azimuth)).astype(np.int64)
        return rows, columns

    @cached_property
    def inside(self) -> Bool[np.ndarray, "ray bin"]:
        """True where a bin lies in the frame."""
        rows, columns = self._places
        height, width = self.shape
        return np.asarray((rows >= 0) & (rows < height) & (columns >= 0) & (columns < width))

    def scan(self, field: Shaped[np.ndarray, "height width"]) -> Shaped[np.ndarray, "ray bin"]:
        """The nearest pixel of every bin; beyond the frame that of its edge."""
        rows, columns = self._places
        height, width = self.shape
        return np.asarray(field[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)])

    def back(self, bins: Shaped[np.ndarray, "ray bin"]) -> Shaped[np.ndarray, "height width"]:
        """The bin that every pixel lies in."""
        return np.asarray(bins[self._ray, self._bin])
