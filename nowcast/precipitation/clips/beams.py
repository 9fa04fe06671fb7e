"""What depends on where the radar stands: attenuation, range, blocked beams, the circle it sees.

Each function changes a clip in place, in all frames by the same radar. Pixels are taken as 1 km.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.precipitation.clips.reflectivity import Reflectivity
from nowcast.precipitation.synthetic.polar import range_and_azimuth

Levels = UInt8[np.ndarray, "time height width"]
Mask = Bool[np.ndarray, "time height width"]

RADAR_AT = (-0.25, 1.25)  # of a side: in the frame or near it

# k = a Z^b in dB/km one way, C band: the range of a, and b, of Jacobi and Heistermann 2016,
# 10.1080/19475705.2016.1155080, after Kraemer and Verworn 2008. So is the most that is lost.
ATTENUATION_A = (2.33e-5, 1.67e-4)
ATTENUATION_B = 0.7
MOST_ATTENUATION_DB = 20.0
RAYS = 360
BIN_PX = 2

FARTHEST_LOSS_DB = (2.0, 10.0)  # at the farthest pixel; beams overshoot the rain and widen
FARTHEST_DETECTABLE_DBZ = (0.0, 15.0)

SECTORS = 3  # at most
SECTOR_RAD = (np.deg2rad(3.0), np.deg2rad(25.0))
SECTOR_FROM = (0.1, 0.9)  # of the distance of a pixel drawn in the frame
BLOCKED_WHOLLY = 1 / 3  # of the sectors
BLOCKED_DB = (3.0, 20.0)

CENTRE_AT = (0.35, 0.65)  # of a side
RADIUS = (0.35, 0.7)  # of the shorter side


def attenuate(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Weaken what lies behind rain, as seen by a C-band radar that does not correct for it.

    The two-way loss is the sum of 2 a Z^b along the beam, at most `MOST_ATTENUATION_DB`.
    """
    import cv2

    row, column = _place(rng, levels)
    a = np.exp(rng.uniform(*np.log(ATTENUATION_A)))
    z = 10 ** (reflectivity.dbz_by_level / 10)
    loss_by_level = (2 * BIN_PX * a * z**ATTENUATION_B).astype(np.float32)
    height, width = levels.shape[1:]
    bins = round(range_and_azimuth((height, width), (row, column))[0].max() / BIN_PX) + 2
    beams = (column, row), float(bins * BIN_PX), cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS
    for frame in levels:
        lost = cv2.warpPolar(loss_by_level[frame], (bins, RAYS), *beams)
        before = np.minimum(np.cumsum(lost, axis=1) - lost, MOST_ATTENUATION_DB)
        inverse = *beams[:2], beams[2] | cv2.WARP_INVERSE_MAP
        reflectivity.weaken(frame, cv2.warpPolar(before, (width, height), *inverse))


def lose_with_range(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Weaken with the square of the range, and drop what the radar does not detect there.

    The least detectable reflectivity rises by 20 log10 of the range (the radar equation).
    """
    distance, _ = range_and_azimuth(levels.shape[1:], _place(rng, levels))
    share = np.maximum(distance, 1) / distance.max()
    reflectivity.weaken(levels, rng.uniform(*FARTHEST_LOSS_DB) * share**2)
    detectable = rng.uniform(*FARTHEST_DETECTABLE_DBZ) + 20 * np.log10(share)
    levels *= levels >= reflectivity.levels(detectable)


def block_beams(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Weaken sectors behind hills or buildings, or empty them; their mask still says data."""
    radar = _place(rng, levels)
    distance, azimuth = range_and_azimuth(levels.shape[1:], radar)
    for _ in range(rng.integers(1, SECTORS + 1)):
        through = tuple(rng.integers(levels.shape[1:]))  # or most would miss the frame
        aside = np.abs((azimuth - azimuth[through] + np.pi) % (2 * np.pi) - np.pi)
        behind = distance >= rng.uniform(*SECTOR_FROM) * distance[through]
        within = aside <= rng.uniform(*SECTOR_RAD) / 2
        wholly, loss_db = rng.random() < BLOCKED_WHOLLY, rng.uniform(*BLOCKED_DB)
        loss = np.where(behind & within, np.inf if wholly else loss_db, 0.0)
        reflectivity.weaken(levels, loss)


def cover_a_circle(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """No data outside a circle: masked, level 0."""
    height, width = levels.shape[1:]
    row, column = rng.uniform(*CENTRE_AT, 2) * (height, width)
    distance, _ = range_and_azimuth((height, width), (row, column))
    inside = distance <= rng.uniform(*RADIUS) * min(height, width)
    levels *= inside
    mask &= inside


def _place(rng: np.random.Generator, levels: Levels) -> tuple[float, float]:
    """Row and column of a radar."""
    row, column = rng.uniform(*RADAR_AT, 2) * levels.shape[1:]
    return float(row), float(column)
