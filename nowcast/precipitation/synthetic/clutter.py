"""What a radar sees besides rain, made from a seed: the truth that estimated masks are held to.

Three kinds that come and go: speckle (birds, aircraft, interference), a thin ring around the radar,
and the sun's spike. What stays in place (ground clutter, blocked beams) is `synthetic`'s.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from nowcast.precipitation.synthetic.cells import FLOOR_DBZ
from nowcast.precipitation.synthetic.polar import range_and_azimuth

Kind = Literal["speckle", "ring", "spike"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Struck = dict[Kind, Bool[np.ndarray, "height width"]]  # True where an echo is of that kind

SPECKLE_FRAMES = 0.5  # share of frames that have any
SPECKLES_PER_1000_PX = 0.4
SPECKLE_PX = 3  # at most
SPECKLE_DBZ = (8.0, 35.0)

RING_FRAMES = 0.12
RING_RADIUS = (0.25, 0.95)  # of half the shorter side
RING_WIDTH_PX = (1.0, 2.0)
RING_DBZ = (12.0, 30.0)
RING_ROUGH_DBZ = 1.5

# The sun adds a constant power, which the radar's range correction turns into Z ~ range^2 on one
# beam (Huuskonen and Holleman 2007); it stands low enough for that at dawn and at dusk.
SUN_MINUTES = (6 * 60.0, 18 * 60.0)  # of the day, give or take
SUN_SHIFT_MIN = 30.0
SUN_AZIMUTH = (np.pi / 2, 3 * np.pi / 2)  # east at dawn, west at dusk, give or take
SUN_SHIFT_RAD = 0.5
SUN_DRIFT_RAD = np.deg2rad(0.25)  # a minute
SPIKE_MINUTES = (25.0, 60.0)
SPIKE_WIDTH_RAD = (np.deg2rad(1.0), np.deg2rad(3.0))
SPIKE_EDGE_DBZ = (16.0, 28.0)  # at half the shorter side
SPIKE_ROUGH_DBZ = 1.0


@dataclass(frozen=True)
class _Spike:
    start: float  # minutes into the day
    end: float
    azimuth: float  # at the start
    width: float
    edge_dbz: float


class Clutter:
    """One day's passing clutter over the frames of one radar, which stands in their middle.

    Args:
        rng: all randomness comes from it; the same state gives the same clutter.
        shape: (height, width) of a frame, pixels of about 1 km.
        step_minutes: time between frames; a spike stays for at least two of them.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], step_minutes: int) -> None:
        self._rng = rng
        self._shape = shape
        self._edge = min(shape) / 2
        self._distance, self._azimuth = range_and_azimuth(shape)
        self._spikes = [
            self._spike(minute, azimuth, 2.0 * step_minutes)
            for minute, azimuth in zip(SUN_MINUTES, SUN_AZIMUTH, strict=True)
        ]

    def overlay(
        self, dbz: Float[np.ndarray, "height width"], minute: int
    ) -> tuple[Float[np.ndarray, "height width"], Struck]:
        """Add the clutter of a minute of the day; call it in the order of time.

        Args:
            dbz: reflectivity of the rain; what is below `FLOOR_DBZ` is not seen.
            minute: since midnight.

        Returns:
            The larger of rain and clutter at every pixel, and where each kind is what is seen.
        """
        rng = self._rng
        echoes: dict[Kind, Float[np.ndarray, "height width"]] = dict.fromkeys(
            KINDS, np.full(self._shape, -np.inf)
        )
        if rng.uniform() < SPECKLE_FRAMES:
            echoes["speckle"] = self._speckle_dbz()
        if rng.uniform() < RING_FRAMES:
            echoes["ring"] = self._ring_dbz()
        for spike in self._spikes:
            if spike.start <= minute <= spike.end:
                echoes["spike"] = self._spike_dbz(spike, minute)
        seen = np.max(np.stack([dbz, *echoes.values()]), axis=0)
        return seen, {
            kind: (echo >= FLOOR_DBZ) & (echo > dbz) & (echo == seen)
            for kind, echo in echoes.items()
        }

    def _speckle_dbz(self) -> Float[np.ndarray, "height width"]:
        height, width = self._shape
        echo = np.full(self._shape, -np.inf)
        count = self._rng.poisson(SPECKLES_PER_1000_PX * height * width / 1000)
        rows, columns = self._rng.integers(0, self._shape, (count, 2)).T
        steps = self._rng.integers(-1, 2, (count, SPECKLE_PX, 2))
        sizes = self._rng.integers(1, SPECKLE_PX + 1, count)
        strength = self._rng.uniform(*SPECKLE_DBZ, count)
        for number in range(SPECKLE_PX):  # a walk: its pixels touch each other
            grown = sizes > number
            echo[rows[grown], columns[grown]] = strength[grown]
            rows = np.clip(rows + steps[:, number, 0], 0, height - 1)
            columns = np.clip(columns + steps[:, number, 1], 0, width - 1)
        return echo

    def _ring_dbz(self) -> Float[np.ndarray, "height width"]:
        radius = self._rng.uniform(*RING_RADIUS) * self._edge
        half_width = self._rng.uniform(*RING_WIDTH_PX) / 2
        strength = self._rng.uniform(*RING_DBZ)
        rough = ndimage.gaussian_filter(self._rng.standard_normal(self._shape), 1.0)
        dbz = strength + RING_ROUGH_DBZ * rough / rough.std()
        return np.where(np.abs(self._distance - radius) <= half_width, dbz, -np.inf)

    def _spike(self, minute: float, azimuth: float, shortest: float) -> _Spike:
        rng = self._rng
        start = minute + rng.uniform(-SUN_SHIFT_MIN, SUN_SHIFT_MIN)
        return _Spike(
            start=start,
            end=start + max(shortest, rng.uniform(*SPIKE_MINUTES)),
            azimuth=azimuth + rng.uniform(-SUN_SHIFT_RAD, SUN_SHIFT_RAD),
            width=rng.uniform(*SPIKE_WIDTH_RAD),
            edge_dbz=rng.uniform(*SPIKE_EDGE_DBZ),
        )

    def _spike_dbz(self, spike: _Spike, minute: int) -> Float[np.ndarray, "height width"]:
        azimuth = spike.azimuth + SUN_DRIFT_RAD * (minute - spike.start)
        aside = np.abs(np.angle(np.exp(1j * (self._azimuth - azimuth))))
        distance = np.maximum(self._distance, 1.0)
        within = aside <= np.maximum(spike.width / 2, 0.5 / distance)  # no thinner than a pixel
        rough = self._rng.normal(0, SPIKE_ROUGH_DBZ, self._shape)
        dbz = spike.edge_dbz + 20 * np.log10(distance / self._edge) + rough
        return np.where(within, dbz, -np.inf)
