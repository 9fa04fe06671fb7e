"""From a field to a frame: an explicit cut, and values as pixels. Nothing is stretched."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import LARGEST_PIXELS
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration, encode, pixel_from_dbz


class Cut:
    """The part of every field that becomes the frame, and how its values become pixels.

    Args:
        where: what to name in a message: the first field.
        source: rows and columns of the fields.
        target: crop, block mean and Z-R relation.

    Raises:
        ConfigError: the crop leaves the field, the blocks do not fill it, or the frame is too
            large for an archive.
    """

    def __init__(self, where: str, source: tuple[int, ...], target: Target) -> None:
        rows, columns = source
        top, bottom, left, right = target.crop or (0, rows, 0, columns)
        if not (0 <= top < bottom <= rows and 0 <= left < right <= columns):
            raise ConfigError(
                f"--crop: expected rows and columns inside {rows}x{columns} of {where}, as first "
                f"row, end row, first column, end column; found {top},{bottom},{left},{right}"
            )
        side = target.block_mean
        height, width = divmod(bottom - top, side), divmod(right - left, side)
        if height[1] or width[1]:
            raise ConfigError(
                f"--block-mean: expected blocks of {side}x{side} to fill {bottom - top}x"
                f"{right - left} pixels, found {height[1]} rows and {width[1]} columns over; add "
                f"--crop {top},{bottom - height[1]},{left},{right - width[1]}"
            )
        if height[0] * width[0] > LARGEST_PIXELS:
            raise ConfigError(
                f"--crop: {where} would be frames of {height[0]}x{width[0]}, expected at most "
                f"{LARGEST_PIXELS} pixels; cut it with --crop or average it with --block-mean"
            )
        self.source = (rows, columns)
        self.height, self.width = height[0], width[0]
        self._rows, self._columns = slice(top, bottom), slice(left, right)
        self._side = side
        self._calibration = target.calibration or Calibration()

    def grid(self, grid: Grid | None) -> Grid | None:
        """Where the frame's pixels lie."""
        if grid is None:
            return None
        return Grid(
            grid.projection,
            x_west=grid.x_west + self._columns.start * grid.pixel_x,
            y_north=grid.y_north - self._rows.start * grid.pixel_y,
            pixel_x=grid.pixel_x * self._side,
            pixel_y=grid.pixel_y * self._side,
        )

    def levels(
        self, values: Float[np.ndarray, "rows columns"], unit: str
    ) -> tuple[UInt8[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
        """8-bit levels and mask (True = use) of a checked field: dBZ, levels of VIL, else mm/h."""
        if unit == "VIL":
            values = values[self._rows, self._columns]
            mask = ~np.isnan(values)
            return np.where(mask, values, 0).astype(np.uint8), mask
        pixels, mask = self.pixels(values, unit)
        return encode(pixels), mask

    def pixels(
        self, values: Float[np.ndarray, "rows columns"], unit: str
    ) -> tuple[Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
        """Pixels in [0, 1] and mask of a checked field, as fine as it is."""
        values = values[self._rows, self._columns]
        if unit == "VIL":
            mask = ~np.isnan(values)
            return np.where(mask, values, 0) / PIXEL_LEVELS, mask
        if self._side > 1:
            rates = self._calibration.rate_from_dbz(values) if unit == "dBZ" else values
            shape = (self.height, self._side, self.width, self._side)
            # NaN in, NaN out: a block that lacks a pixel has no mean.
            values, unit = rates.reshape(shape).mean(axis=(1, 3)), "mm_h"
        mask = ~np.isnan(values)
        values = np.where(mask, values, -np.inf if unit == "dBZ" else 0.0)
        if unit == "dBZ":
            return pixel_from_dbz(values), mask
        return self._calibration.pixel_from_rate(values), mask
