"""The weather of a synthetic day: widespread rain and convective cells, carried by one flow.

Widespread rain is a random field with a power law for its spectrum, moved by a flow that varies in
space and time while every wavelength forgets at its own pace (as in STEPS, Bowler et al. 2006).
Convective cells are born where that field is high, in clusters, and grow and decay while they move
along. One pixel is about 1 km.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Complex64, Float, Float32
from scipy import fft

from nowcast.precipitation.units import DBZ_AT_PIXEL_0, Calibration

DAY_MINUTES = 24 * 60

# Widespread rain. Chosen so that `archive_info` comes near KNMI, MeteoSwiss and DWD radar.
MARGIN_PX = 64  # around the frame: rain that leaves does not come in again at once
FIELD_SLOPE = -4.0  # of the power spectrum, below the outer scale
OUTER_SCALE_PX = 160.0
ELONGATION = (1.0, 2.2)  # of the rain's bands, drawn per day
MEMORY_MIN_PER_PX = 5.0  # a wavelength of 24 px forgets in two hours, one of 4 px in 20 minutes
TEXTURE_PX = 16.0  # wavelengths below are what roughens a rain area's inside
FLOOR_DBZ = Calibration().dbz_from_rate(0.1).item()  # fainter rain is not seen
EDGE_RISE_DBZ = 16.0  # gained within a few pixels of a rain area's edge
EDGE_WIDTH = 0.4  # in standard deviations of the field
CORE_RISE_DBZ = 4.0  # gained per standard deviation all the way inside
TEXTURE_DBZ = 1.2

# A day's spells of rain.
SPELLS = (1, 3)
SHORTEST_DRY_MIN = 90.0  # longer than a cell lives: spells and days do not touch
SHORTEST_WET_MIN = 150.0
DRY_THRESHOLD = 4.5  # standard deviations of the field that are needed to rain: none has them
WET_THRESHOLD = (-0.5, 1.0)
SPEED_KM_H = (20.0, 55.0)
TURN_RAD = 0.4  # standard deviation of a spell's heading around the day's
FLOW_SCALE_PX = 40.0
FLOW_VARIATION = 0.2  # of the mean speed
FLOW_PERIOD_MIN = 600.0

# Convective cells.
CELLS_PER_HOUR = 1.4  # on 1000 px, at the height of a spell that is all convective
CLUSTERED = 0.6  # share of cells born beside another one
CLUSTER_PX = 7.0
CELL_LIFE_MIN = (25.0, 80.0)
CELL_PEAK_DBZ = (36.0, 60.0)
CELL_RADIUS_PX = (1.5, 4.0)
CELL_STRETCH = (1.0, 2.2)
CELL_FALL_DBZ = 9.0  # from the centre to one radius
CELL_FALL_POWER = 1.2
CELL_RAGGED = 0.15  # of the distance, per standard deviation of the texture


@dataclass(frozen=True)
class _Spell:
    start: float  # minutes into the day
    end: float
    threshold: float
    convective: float  # 0 widespread rain only, 1 cells mostly
    velocity_km_h: tuple[float, float]  # down, right

    def strength(self, minute: int) -> float:
        share = (minute - self.start) / (self.end - self.start)
        ramp = float(np.clip(4 * min(share, 1 - share), 0, 1))
        return ramp * ramp * (3 - 2 * ramp)


def _spells(rng: np.random.Generator) -> list[_Spell]:
    count = int(rng.integers(SPELLS[0], SPELLS[1] + 1))
    shortest = np.full(2 * count + 1, SHORTEST_DRY_MIN)
    shortest[1::2] = SHORTEST_WET_MIN
    weights = np.where(np.arange(len(shortest)) % 2 == 1, 3.0, 1.0)
    lengths = shortest + rng.dirichlet(weights) * (DAY_MINUTES - shortest.sum())
    edges = np.cumsum(lengths)
    heading = rng.uniform(-np.pi, np.pi)
    spells = []
    for number in range(count):
        turned = heading + rng.normal(0, TURN_RAD)
        speed = rng.uniform(*SPEED_KM_H)
        spells.append(
            _Spell(
                start=float(edges[2 * number]),
                end=float(edges[2 * number + 1]),
                threshold=float(rng.uniform(*WET_THRESHOLD)),
                convective=float(rng.uniform()),
                velocity_km_h=(float(speed * np.sin(turned)), float(speed * np.cos(turned))),
            )
        )
    return spells


@dataclass
class _Cell:
    row: float
    column: float
    age: float  # minutes
    life: float
    peak_dbz: float
    radius: float
    stretch: float
    angle: float


class Rain:
    """One day's rain on a domain larger than the frame, whose edges meet."""

    def __init__(self, rng: np.random.Generator, frame: tuple[int, int], step_minutes: int) -> None:
        self.rng = rng
        self.step_minutes = step_minutes
        self.spells = _spells(rng)
        self.middles = [(spell.start + spell.end) / 2 for spell in self.spells]
        self.shape = tuple(fft.next_fast_len(side + MARGIN_PX, real=True) for side in frame)
        self.rows, self.columns = np.indices(self.shape, dtype=np.float32)
        self.band = float(rng.uniform(-np.pi / 2, np.pi / 2))

        frequency = self._frequency(0.0, 1.0)
        banded = self._frequency(self.band, float(rng.uniform(*ELONGATION)))
        self.amplitude = (banded**2 + OUTER_SCALE_PX**-2) ** (FIELD_SLOPE / 4)
        self.amplitude[0, 0] = 0
        self.amplitude /= self._grid(self._noise() * self.amplitude).std()
        keep = np.exp(-step_minutes * frequency / MEMORY_MIN_PER_PX)
        self.keep, self.renew = keep, np.sqrt(1 - keep**2) * self.amplitude
        self.rough = (frequency > 1 / TEXTURE_PX).astype(np.float32)
        self.field = self._grid(self._noise() * self.amplitude)
        calm = np.exp(-((2 * np.pi * FLOW_SCALE_PX * frequency) ** 2) / 2)
        self.gusts = [self._gust(self._grid(self._noise() * calm)) for _ in range(2)]
        self.cells: list[_Cell] = []

    def _frequency(self, angle: float, elongation: float) -> Float32[np.ndarray, "rows bins"]:
        """Cycles per pixel; rises faster along `angle`, so that what is drawn is long that way."""
        down = fft.fftfreq(self.shape[0])[:, None]
        right = fft.rfftfreq(self.shape[1])[None, :]
        along = right * np.cos(angle) + down * np.sin(angle)
        across = down * np.cos(angle) - right * np.sin(angle)
        root = np.sqrt(elongation)
        return np.asarray(np.hypot(along * root, across / root), dtype=np.float32)

    def _noise(self) -> Complex64[np.ndarray, "rows bins"]:
        return self._spectrum(self.rng.standard_normal(self.shape, dtype=np.float32))

    def _spectrum(
        self, grid: Float32[np.ndarray, "rows cols"]
    ) -> Complex64[np.ndarray, "rows bins"]:
        return np.asarray(fft.rfft2(grid), dtype=np.complex64)

    def _grid(
        self, spectrum: Complex64[np.ndarray, "rows bins"]
    ) -> Float32[np.ndarray, "rows cols"]:
        return np.asarray(fft.irfft2(spectrum, s=self.shape), dtype=np.float32)

    def _gust(self, stream: Float32[np.ndarray, "rows cols"]) -> Float32[np.ndarray, "2 rows cols"]:
        """A flow around the hills of `stream`, so it neither gathers nor spreads rain; rms 1."""
        down = np.roll(stream, -1, 1) - np.roll(stream, 1, 1)
        right = np.roll(stream, 1, 0) - np.roll(stream, -1, 0)
        flow = np.stack([down, right])
        return np.asarray(flow / np.sqrt((flow**2).sum(0).mean()), dtype=np.float32)

    def _motion(self, minute: int) -> Float32[np.ndarray, "2 rows cols"]:
        """Pixels down and right in one step."""
        mean = np.array(
            [
                np.interp(minute, self.middles, [s.velocity_km_h[axis] for s in self.spells])
                for axis in range(2)
            ]
        )
        mean *= self.step_minutes / 60
        phase = 2 * np.pi * minute / FLOW_PERIOD_MIN
        gust = np.cos(phase) * self.gusts[0] + np.sin(phase) * self.gusts[1]
        gust *= FLOW_VARIATION * np.hypot(*mean)
        return np.asarray(mean[:, None, None] + gust, dtype=np.float32)

    def advance(self, minute: int) -> Float[np.ndarray, "rows cols"]:
        """Move and renew the rain by one step; its dBZ at `minute` of the day."""
        motion = self._motion(minute)
        moved = cv2.remap(
            self.field,
            self.columns - motion[1],
            self.rows - motion[0],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_WRAP,
        )
        spectrum = self.keep * self._spectrum(moved) + self.renew * self._noise()
        self.field = self._grid(spectrum)
        texture = self._grid(spectrum * self.rough)
        texture /= texture.std()

        strength, threshold, convective = 0.0, 0.0, 0.0
        for spell in self.spells:
            if spell.start <= minute <= spell.end:
                strength = spell.strength(minute)
                threshold, convective = spell.threshold, spell.convective
        # Showers stand apart: the more of them, the less widespread rain around.
        threshold = DRY_THRESHOLD + strength * (threshold + convective - DRY_THRESHOLD)
        dbz = _widespread_dbz(self.field - threshold, texture)
        self._renew_cells(strength * convective, motion)
        for cell in self.cells:
            self._add_cell(dbz, cell, texture)
        return dbz

    def _renew_cells(self, activity: float, motion: Float32[np.ndarray, "2 rows cols"]) -> None:
        for cell in self.cells:
            at = (int(cell.row) % self.shape[0], int(cell.column) % self.shape[1])
            cell.row += float(motion[0][at])
            cell.column += float(motion[1][at])
            cell.age += self.step_minutes
        self.cells = [cell for cell in self.cells if cell.age < cell.life]
        births = CELLS_PER_HOUR * activity * self.field.size / 1000 * self.step_minutes / 60
        for _ in range(self.rng.poisson(births)):
            self.cells.append(self._born())

    def _born(self) -> _Cell:
        rng = self.rng
        if self.cells and rng.uniform() < CLUSTERED:
            parent = self.cells[rng.integers(len(self.cells))]
            row, column = rng.normal((parent.row, parent.column), CLUSTER_PX)
        else:
            places = rng.integers(0, self.shape, (6, 2))
            row, column = places[self.field[places[:, 0], places[:, 1]].argmax()].astype(float)
        low, high = CELL_PEAK_DBZ
        return _Cell(
            row=float(row),
            column=float(column),
            age=0.0,
            life=float(rng.uniform(*CELL_LIFE_MIN)),
            peak_dbz=float(low + (high - low) * rng.beta(1.5, 2.2)),
            radius=float(rng.uniform(*CELL_RADIUS_PX)),
            stretch=float(rng.uniform(*CELL_STRETCH)),
            angle=float(rng.normal(self.band, 0.4)),
        )

    def _add_cell(
        self,
        dbz: Float[np.ndarray, "rows cols"],
        cell: _Cell,
        texture: Float32[np.ndarray, "rows cols"],
    ) -> None:
        """Add a cell's Z to what is there, over the domain's edges too."""
        share = cell.age / cell.life
        growth = min(share / 0.35, (1 - share) / 0.65) ** 0.6  # grows faster than it decays
        peak = FLOOR_DBZ + (cell.peak_dbz - FLOOR_DBZ) * growth
        reach = int(4 * cell.radius * cell.stretch) + 1
        row, column = round(cell.row), round(cell.column)
        rows = np.arange(row - reach, row + reach + 1)[: self.shape[0]]
        columns = np.arange(column - reach, column + reach + 1)[: self.shape[1]]
        patch = np.ix_(rows % self.shape[0], columns % self.shape[1])
        down, right = np.ix_(rows - cell.row, columns - cell.column)
        along = (right * np.cos(cell.angle) + down * np.sin(cell.angle)) / cell.stretch
        across = down * np.cos(cell.angle) - right * np.sin(cell.angle)
        distance = np.hypot(along, across) / cell.radius * (1 + CELL_RAGGED * texture[patch])
        cell_dbz = peak - CELL_FALL_DBZ * np.maximum(distance, 0) ** CELL_FALL_POWER
        to_log = np.log(10) / 10
        dbz[patch] = np.logaddexp(dbz[patch] * to_log, cell_dbz * to_log) / to_log


def _widespread_dbz(
    excess: Float32[np.ndarray, "rows cols"], texture: Float32[np.ndarray, "rows cols"]
) -> Float[np.ndarray, "rows cols"]:
    """Reflectivity of an excess over the threshold: a steep edge, then nearly level."""
    inside = np.maximum(excess, 0).astype(np.float64)
    edge = 1 - np.exp(-inside / EDGE_WIDTH)
    rise = EDGE_RISE_DBZ * edge + CORE_RISE_DBZ * inside + TEXTURE_DBZ * edge * texture
    return np.where(excess > 0, FLOOR_DBZ + rise, DBZ_AT_PIXEL_0 - 10)
