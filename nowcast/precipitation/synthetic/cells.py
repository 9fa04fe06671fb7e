"""Convective cells of synthetic rain: born in clusters where it is wet, they move and decay."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from nowcast.precipitation.synthetic.climates import Climate
from nowcast.precipitation.units import Calibration

FLOOR_DBZ = Calibration().dbz_from_rate(0.1).item()  # fainter rain is not seen
CELL_STRETCH = (1.0, 2.2)
CELL_FALL_DBZ = 9.0  # from the centre to one radius
CELL_FALL_POWER = 1.2
CELL_RAGGED = 0.15  # of the distance, per standard deviation of the texture


@dataclass
class _Cell:
    row: float
    column: float
    age: float  # minutes
    life: float
    peak_dbz: float
    radius: float  # pixels
    stretch: float
    angle: float


class Cells:
    """The cells of one day, on a domain whose edges meet.

    Args:
        rng: all randomness comes from it.
        climate: what the cells are drawn from.
        pixel_km: side of the domain's pixels.
        band: direction of the rain's bands, in radians from right to down.
    """

    def __init__(
        self, rng: np.random.Generator, climate: Climate, pixel_km: float, band: float
    ) -> None:
        self._rng = rng
        self._climate = climate
        self._pixel_km = pixel_km
        self._band = band
        self._cells: list[_Cell] = []

    def advance(
        self,
        minutes: int,
        activity: float,
        motion: Float32[np.ndarray, "2 rows cols"],
        field: Float32[np.ndarray, "rows cols"],
    ) -> None:
        """Move and age the cells, end the old ones and let new ones be born.

        Args:
            minutes: since the last call.
            activity: share of the climate's births, 0 to 1.
            motion: pixels down and right in those minutes.
            field: of the widespread rain; cells are born where it is high.
        """
        for cell in self._cells:
            at = (int(cell.row) % field.shape[0], int(cell.column) % field.shape[1])
            cell.row += float(motion[0][at])
            cell.column += float(motion[1][at])
            cell.age += minutes
        self._cells = [cell for cell in self._cells if cell.age < cell.life]
        area_km2 = field.size * self._pixel_km**2
        births = self._climate.cells_per_hour * activity * area_km2 / 1000 * minutes / 60
        for _ in range(self._rng.poisson(births)):
            self._cells.append(self._born(field))

    def add(
        self, dbz: Float[np.ndarray, "rows cols"], texture: Float32[np.ndarray, "rows cols"]
    ) -> None:
        """Add the cells' Z to what is there, over the domain's edges too; `texture` frays them."""
        for cell in self._cells:
            _add(dbz, cell, texture)

    def _born(self, field: Float32[np.ndarray, "rows cols"]) -> _Cell:
        rng, climate = self._rng, self._climate
        if self._cells and rng.uniform() < climate.clustered:
            parent = self._cells[rng.integers(len(self._cells))]
            down, right = rng.normal(0, climate.cluster_km / self._pixel_km, 2)
            along = right * np.cos(self._band) + down * np.sin(self._band)
            row = parent.row + (down + (climate.line - 1) * along * np.sin(self._band))
            column = parent.column + (right + (climate.line - 1) * along * np.cos(self._band))
        else:
            places = rng.integers(0, field.shape, (climate.birth_places, 2))
            row, column = places[field[places[:, 0], places[:, 1]].argmax()].astype(float)
        low, high = climate.cell_peak_dbz
        return _Cell(
            row=float(row),
            column=float(column),
            age=0.0,
            life=float(rng.uniform(*climate.cell_life_min)),
            peak_dbz=float(low + (high - low) * rng.beta(1.5, 2.2)),
            radius=float(rng.uniform(*climate.cell_radius_km)) / self._pixel_km,
            stretch=float(rng.uniform(*CELL_STRETCH)),
            angle=float(rng.normal(self._band, 0.4)),
        )


def _add(
    dbz: Float[np.ndarray, "rows cols"], cell: _Cell, texture: Float32[np.ndarray, "rows cols"]
) -> None:
    height, width = dbz.shape
    share = cell.age / cell.life
    growth = min(share / 0.35, (1 - share) / 0.65) ** 0.6  # grows faster than it decays
    peak = FLOOR_DBZ + (cell.peak_dbz - FLOOR_DBZ) * growth
    reach = int(4 * cell.radius * cell.stretch) + 1
    row, column = round(cell.row), round(cell.column)
    rows = np.arange(row - reach, row + reach + 1)[:height]
    columns = np.arange(column - reach, column + reach + 1)[:width]
    patch = np.ix_(rows % height, columns % width)
    down, right = np.ix_(rows - cell.row, columns - cell.column)
    along = (right * np.cos(cell.angle) + down * np.sin(cell.angle)) / cell.stretch
    across = down * np.cos(cell.angle) - right * np.sin(cell.angle)
    distance = np.hypot(along, across) / cell.radius * (1 + CELL_RAGGED * texture[patch])
    cell_dbz = peak - CELL_FALL_DBZ * np.maximum(distance, 0) ** CELL_FALL_POWER
    to_log = np.log(10) / 10
    dbz[patch] = np.logaddexp(dbz[patch] * to_log, cell_dbz * to_log) / to_log
