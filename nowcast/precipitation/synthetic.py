"""Rain made from a seed, as an archive: tests and pretraining need frames nobody has to fetch.

Each day is its own weather, from dry to dry, so no event reaches into another split. Widespread
rain is a random field with a power law for its spectrum, carried by a flow that varies in space and
time while every wavelength forgets at its own pace (as in STEPS, Bowler et al. 2006). Convective
cells are born where that field is high, in clusters, and grow and decay while they move along. One
pixel is about 1 km.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32, UInt8
from scipy import fft

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive import ArchiveWriter, Description
from nowcast.precipitation.days import Split
from nowcast.precipitation.frames import Moments
from nowcast.precipitation.units import (
    DBZ_AT_PIXEL_0,
    HKO7_ZR_A,
    HKO7_ZR_B,
    PIXEL_LEVELS,
    Calibration,
    encode,
    pixel_from_dbz,
)

FIRST_DAY = np.datetime64("2020-06-01", "D")
DAY_MINUTES = 24 * 60
LONGEST_STEP_MINUTES = 60  # rain is another one after an hour
SMALLEST_SIDE = 16  # px; ring, sector and cells need room

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

# What the radar's site does to its frames.
CLUTTER_RADIUS = 0.2  # of the frame's shorter side
CLUTTER_DBZ = (12.0, 38.0)
CLUTTER_FLICKER_DBZ = 2.0
SECTOR_RAD = 0.22  # width of the blocked beam, 13 degrees


@dataclass(frozen=True)
class _Site:
    clutter_dbz: Float[np.ndarray, "height width"]  # -inf off the ring
    usable: Bool[np.ndarray, "height width"]
    blocked: Bool[np.ndarray, "height width"]


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


def write_synthetic(
    root: Path,
    *,
    days: int = 6,
    seed: int = 0,
    height: int = 128,
    width: int = 128,
    step_minutes: int = 6,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write an archive of synthetic rain; the same arguments give the same bytes.

    Days follow each other from 2020-06-01: the last sixth is for test, the sixth before for
    validation (one day each at least), the rest for training. A day's weather depends on seed, size
    and step, not on how many days there are. On each day one or two frames in a row are missing. A
    ring of ground clutter and a blocked sector are masked in every frame.

    Args:
        root: the folder to make.
        days: calendar days, at least 3.
        seed: what all randomness comes from, at least 0.
        height: rows of a frame, pixels of about 1 km.
        width: columns of a frame.
        step_minutes: time between frames; divides a day, at most 60.
        progress: called with (frames written, frames in all).

    Raises:
        ConfigError: an argument is out of range, or `root` is not empty.
    """
    _check(days, seed, height, width, step_minutes)
    description = Description(
        name="synthetic",
        credit=f"generated by nowcast, seed {seed}; no measurement",
        step_minutes=step_minutes,
        height=height,
        width=width,
        zr_a=HKO7_ZR_A,
        zr_b=HKO7_ZR_B,
    )
    writer = ArchiveWriter(root, description)
    site = _site(np.random.default_rng((seed, 0)), height, width)
    rate_mm_h = Calibration().rate_from_pixel(np.arange(PIXEL_LEVELS + 1) / PIXEL_LEVELS)
    depth: dict[str, float] = {}
    done, total = 0, sum(len(_moments(day, step_minutes)) for day in range(days))
    for day in range(days):
        rng = np.random.default_rng((seed, 1 + day))
        written = set(_moments(day, step_minutes))
        name = str(FIRST_DAY + day).replace("-", "")
        depth[name] = 0.0
        for number, levels in enumerate(_frames(rng, site, step_minutes)):
            moment = (FIRST_DAY + day).astype("datetime64[m]") + number * step_minutes
            if moment not in written:
                continue
            writer.write(moment, levels, site.usable)
            depth[name] += float(rate_mm_h[levels[site.usable]].mean()) * step_minutes / 60
            done += 1
            if progress is not None:
                progress(done, total)
    writer.finish(site.usable, _splits(depth))


def _check(days: int, seed: int, height: int, width: int, step_minutes: int) -> None:
    if days < 3:
        raise ConfigError(f"days: expected at least 3, one a split, found {days}")
    if seed < 0:
        raise ConfigError(f"seed: expected at least 0, found {seed}")
    if min(height, width) < SMALLEST_SIDE:
        raise ConfigError(
            f"height, width: expected at least {SMALLEST_SIDE} pixels, found {height} and {width}"
        )
    if not 1 <= step_minutes <= LONGEST_STEP_MINUTES or DAY_MINUTES % step_minutes:
        raise ConfigError(
            f"step_minutes: expected 1 to {LONGEST_STEP_MINUTES} and a divisor of "
            f"{DAY_MINUTES}, found {step_minutes}; 5, 6 and 10 are usual"
        )


def _splits(depth: dict[str, float]) -> dict[Split, dict[str, float]]:
    names = sorted(depth)
    held = max(1, round(len(names) / 6))
    parts: dict[Split, list[str]] = {
        "train": names[: -2 * held],
        "valid": names[-2 * held : -held],
        "test": names[-held:],
    }
    return {split: {name: depth[name] for name in part} for split, part in parts.items()}


def _moments(day: int, step_minutes: int) -> Moments:
    """The moments of a day that get a file: one frame or two in a row are missing."""
    count = DAY_MINUTES // step_minutes
    # Where depends on the day alone, so that gaps lie elsewhere in every split of every archive.
    gap = (7 + 11 * day) * count // 97 % (count - 4) + 2
    kept = np.delete(np.arange(count), range(gap, gap + 1 + day % 2))
    return np.asarray((FIRST_DAY + day).astype("datetime64[m]") + kept * step_minutes)


def _site(rng: np.random.Generator, height: int, width: int) -> _Site:
    rows, columns = np.ogrid[:height, :width]
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    distance = np.hypot(down, right)
    side = min(height, width)
    ring = np.abs(distance - CLUTTER_RADIUS * side) <= max(1.0, side / 100)
    echo = rng.uniform(*CLUTTER_DBZ, (height, width))
    bearing = np.arctan2(down, right) - rng.uniform(-np.pi, np.pi)
    aside = np.abs(np.angle(np.exp(1j * bearing)))
    blocked = (aside <= SECTOR_RAD / 2) & (distance >= 0.08 * side)
    return _Site(np.where(ring, echo, -np.inf), ~(ring | blocked), blocked)


def _frames(
    rng: np.random.Generator, site: _Site, step_minutes: int
) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """A day's frames as the radar gives them: rain, clutter, and nothing in the blocked sector."""
    shape = site.usable.shape
    rain = _Rain(rng, (shape[0], shape[1]), step_minutes)
    for number in range(DAY_MINUTES // step_minutes):
        dbz = rain.advance(number * step_minutes)[: shape[0], : shape[1]]
        flicker = rng.normal(0, CLUTTER_FLICKER_DBZ, shape)
        dbz = np.maximum(dbz, site.clutter_dbz + flicker)
        seen = (dbz >= FLOOR_DBZ) & ~site.blocked
        yield encode(np.where(seen, pixel_from_dbz(dbz), 0.0))


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


class _Rain:
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
