"""The weather of a synthetic day: widespread rain and convective cells, carried by one flow.

Widespread rain is a random field with a power law for its spectrum, moved by a flow that varies in
space and time while every wavelength forgets at its own pace (as in STEPS, Bowler et al. 2006).
Convective cells (`cells`) move with it. What the day's numbers are drawn from is its climate
(`climates`). Rain is made on pixels of at most 1.5 km; a larger pixel is the mean of several.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Complex64, Float, Float32
from scipy import fft

from nowcast.precipitation.synthetic.cells import FLOOR_DBZ, Cells
from nowcast.precipitation.synthetic.climates import CLIMATES, Climate
from nowcast.precipitation.units import DBZ_AT_PIXEL_0

DAY_MINUTES = 24 * 60

FINEST_CELL_KM = 1.5  # radius of the smallest cell; a pixel that is larger is made of smaller ones

# Widespread rain.
MARGIN_KM = 64.0  # around the frame: rain that leaves does not come in again at once
TEXTURE_KM = 16.0  # wavelengths below are what roughens a rain area's inside

# A day's spells of rain.
SHORTEST_DRY_MIN = 90.0  # longer than a cell lives: spells and days do not touch
SHORTEST_WET_MIN = 150.0
DRY_THRESHOLD = 4.5  # standard deviations of the field that are needed to rain: none has them
TURN_RAD = 0.4  # standard deviation of a spell's heading around the day's
FLOW_SCALE_KM = 40.0
FLOW_VARIATION = 0.2  # of the mean speed
FLOW_PERIOD_MIN = 600.0


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


def _spells(rng: np.random.Generator, climate: Climate) -> list[_Spell]:
    count = int(rng.integers(climate.spells[0], climate.spells[1] + 1))
    shortest = np.full(2 * count + 1, SHORTEST_DRY_MIN)
    shortest[1::2] = SHORTEST_WET_MIN
    weights = np.where(np.arange(len(shortest)) % 2 == 1, 3.0, 1.0)
    lengths = shortest + rng.dirichlet(weights) * (DAY_MINUTES - shortest.sum())
    edges = np.cumsum(lengths)
    heading = rng.uniform(-np.pi, np.pi)
    spells = []
    for number in range(count):
        turned = heading + rng.normal(0, TURN_RAD)
        speed = rng.uniform(*climate.speed_km_h)
        spells.append(
            _Spell(
                start=float(edges[2 * number]),
                end=float(edges[2 * number + 1]),
                threshold=float(rng.uniform(*climate.wet_threshold)),
                convective=float(rng.uniform(*climate.convective)),
                velocity_km_h=(float(speed * np.sin(turned)), float(speed * np.cos(turned))),
            )
        )
    return spells


class Rain:
    """One day's rain on a domain larger than the frame, whose edges meet.

    Args:
        rng: all randomness comes from it; the same state gives the same rain.
        frame: (height, width) in pixels.
        step_minutes: time between frames.
        climate: what the day's weather is drawn from.
        pixel_km: side of a pixel.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        frame: tuple[int, int],
        step_minutes: int,
        climate: Climate = CLIMATES["mixed"],
        pixel_km: float = 1.0,
    ) -> None:
        self.rng = rng
        self.step_minutes = step_minutes
        self.climate = climate
        self.parts = max(1, math.ceil(pixel_km / FINEST_CELL_KM))  # of a pixel's side
        self.part_km = pixel_km / self.parts
        self.frame = (frame[0] * self.parts, frame[1] * self.parts)
        self.spells = _spells(rng, climate)
        self.middles = [(spell.start + spell.end) / 2 for spell in self.spells]
        margin = round(MARGIN_KM / self.part_km)
        self.shape = tuple(fft.next_fast_len(side + margin, real=True) for side in self.frame)
        self.rows, self.columns = np.indices(self.shape, dtype=np.float32)
        self.band = float(rng.uniform(-np.pi / 2, np.pi / 2))
        if climate.band_turn_rad is not None:
            heading = np.arctan2(*self.spells[0].velocity_km_h)
            self.band = float(rng.normal(heading + np.pi / 2, climate.band_turn_rad))

        frequency = self._frequency(0.0, 1.0)
        banded = self._frequency(self.band, float(rng.uniform(*climate.elongation)))
        self.amplitude = (banded**2 + climate.outer_scale_km**-2) ** (climate.field_slope / 4)
        self.amplitude[0, 0] = 0
        self.amplitude /= self._grid(self._noise() * self.amplitude).std()
        keep = np.exp(-step_minutes * frequency / climate.memory_min_per_km)
        self.keep, self.renew = keep, np.sqrt(1 - keep**2) * self.amplitude
        self.rough = (frequency > 1 / TEXTURE_KM).astype(np.float32)
        self.field = self._grid(self._noise() * self.amplitude)
        calm = np.exp(-((2 * np.pi * FLOW_SCALE_KM * frequency) ** 2) / 2)
        self.gusts = [self._gust(self._grid(self._noise() * calm)) for _ in range(2)]
        self.cells = Cells(rng, climate, self.part_km, self.band)

    def _frequency(self, angle: float, elongation: float) -> Float32[np.ndarray, "rows bins"]:
        """Cycles per km; rises faster along `angle`, so that what is drawn is long that way."""
        down = fft.fftfreq(self.shape[0], self.part_km)[:, None]
        right = fft.rfftfreq(self.shape[1], self.part_km)[None, :]
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
        """Parts of a pixel down and right in one step."""
        mean = np.array(
            [
                np.interp(minute, self.middles, [s.velocity_km_h[axis] for s in self.spells])
                for axis in range(2)
            ]
        )
        mean *= self.step_minutes / 60 / self.part_km
        phase = 2 * np.pi * minute / FLOW_PERIOD_MIN
        gust = np.cos(phase) * self.gusts[0] + np.sin(phase) * self.gusts[1]
        gust *= FLOW_VARIATION * np.hypot(*mean)
        return np.asarray(mean[:, None, None] + gust, dtype=np.float32)

    def advance(self, minute: int) -> Float[np.ndarray, "height width"]:
        """Move and renew the rain by one step; the frame's dBZ at `minute` of the day."""
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
        dbz = self._widespread_dbz(self.field - threshold, texture)
        self.cells.advance(self.step_minutes, strength * convective, motion, self.field)
        self.cells.add(dbz, texture)
        return _area_mean(dbz[: self.frame[0], : self.frame[1]], self.parts)

    def _widespread_dbz(
        self,
        excess: Float32[np.ndarray, "rows cols"],
        texture: Float32[np.ndarray, "rows cols"],
    ) -> Float[np.ndarray, "rows cols"]:
        """Reflectivity of an excess over the threshold: a steep edge, then nearly level."""
        climate = self.climate
        inside = np.maximum(excess, 0).astype(np.float64)
        edge = 1 - np.exp(-inside / climate.edge_width)
        rise = climate.edge_rise_dbz * edge + climate.core_rise_dbz * inside
        rise = rise + climate.texture_dbz * edge * texture
        return np.where(excess > 0, FLOOR_DBZ + rise, DBZ_AT_PIXEL_0 - 10)


def _area_mean(
    dbz: Float[np.ndarray, "rows cols"], parts: int
) -> Float[np.ndarray, "height width"]:
    """Pixels of `parts` x `parts`: the dBZ of the mean Z, as a radar's larger pixel has it."""
    if parts == 1:
        return dbz
    height, width = dbz.shape[0] // parts, dbz.shape[1] // parts
    z = 10 ** (dbz / 10)
    return np.asarray(10 * np.log10(z.reshape(height, parts, width, parts).mean(axis=(1, 3))))
