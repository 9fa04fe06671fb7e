"""One radar's clips made to look like another's, so that training sees more radars than it has.

Classes, column maxima, least detectable echo, noise, attenuation, blocked beams and coverage differ
from radar to radar. What is forecast is changed like the inputs: it would look so, too.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from nowcast.precipitation.clips.beams import (
    Levels,
    Mask,
    attenuate,
    block_beams,
    cover_a_circle,
    lose_with_range,
)
from nowcast.precipitation.clips.reflectivity import Reflectivity
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration

MOST_EFFECTS = 3  # of a clip

CLASSES = (8, 14)
CLASSES_DBZ = (7.0, 60.0)  # lower edges of the first and the last class, as public composites have
CLASS_JITTER = 0.3  # of the distance of two edges

COLUMN_DB = (-3.0, 6.0)  # a column's maximum, or a bright band, against rain near the ground
WIDENED = 1 / 3  # of the column maxima: the echo leans, so that its column is wider than it

DETECTABLE_DBZ = (5.0, 15.0)
SATURATED = 1 / 2  # of the radars with a drawn limit of detection
SATURATION_DBZ = (50.0, 60.0)

FADED_DB = (-25.0, -5.0)  # drizzle and snow against rain

FLOOR_DBZ = (-4.0, 8.0)  # of faint echo that stays where it is
FLOOR_SHARE = (0.2, 0.9)  # of the pixels
FLOOR_GRAINS = (2, 12)  # patches of it along a side
FLOOR_SPREAD_DB = (0.5, 2.5)  # standard deviation from place to place
FLOOR_NOISE_DB = (0.3, 1.5)  # and from frame to frame
FLOOR_GAPS = (0.0, 0.15)  # of its pixels in a frame

NOISE_DB = (0.5, 2.0)  # standard deviation
FLICKERING = (0.2, 1.0)  # of the pixels of a frame

BYTES = 256
NORMAL = np.array([NormalDist().inv_cdf((byte + 0.5) / BYTES) for byte in range(BYTES)])
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]


def as_another_radar(
    levels: Levels,
    mask: Mask,
    rng: np.random.Generator,
    calibration: Calibration,
    share: float,
) -> tuple[Levels, Mask]:
    """A clip as another radar might show it, with probability `share`; else as it is.

    One to three of `EFFECTS` are drawn, each with its own strength. A place and a strength hold for
    the whole clip; noise and flicker are new in every frame. Dry stays dry, but for the widened
    column maxima and the flicker, which take a neighbour's rain, and for the floor of faint echo.

    Args:
        levels: 8-bit frames; not changed.
        mask: True = valid; not changed. Levels outside it come out as 0 if the clip is changed.
        rng: a generator of its own is spawned from it, so that what is drawn later from `rng` does
            not depend on the effects.
        calibration: the Z-R relation of the levels. Effects are in dBZ of `reflectivity.USUAL`.
        share: of the clips.

    Returns:
        Levels and mask; new arrays if the clip is changed.
    """
    (rng,) = rng.spawn(1)
    if rng.random() >= share:
        return levels, mask
    levels, mask = np.multiply(levels, mask, order="C"), np.array(mask, order="C")
    reflectivity = Reflectivity(calibration)
    count = rng.integers(1, MOST_EFFECTS + 1)
    for effect in sorted(rng.choice(len(EFFECTS), count, replace=False)):
        EFFECTS[effect](levels, mask, rng, reflectivity)
    return levels, mask


def take_column_maxima(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Add a number of dB to all echo and, in some clips, take the maximum over 3x3 pixels."""
    import cv2

    offset, widened = rng.uniform(*COLUMN_DB), rng.random() < WIDENED
    _look_up(levels, reflectivity.levels(reflectivity.dbz_by_level + offset))
    if widened:
        for frame in levels:
            cv2.dilate(frame, np.ones((3, 3), np.uint8), dst=frame)
        levels *= mask


def fade(levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity) -> None:
    """Take a number of dB from all echo, as where it drizzles or snows."""
    _look_up(levels, reflectivity.levels(reflectivity.dbz_by_level + rng.uniform(*FADED_DB)))


def raise_the_floor(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Faint echo over a part of the frame, which stays where it is, as in products that show noise
    and clutter: the larger of it and the rain."""
    import cv2

    shape = levels.shape[1:]
    grains = rng.standard_normal(tuple(rng.integers(*FLOOR_GRAINS, 2, endpoint=True)))
    patches = cv2.resize(grains, shape[::-1], interpolation=cv2.INTER_CUBIC)
    patches = np.asarray(patches) + rng.uniform() * rng.standard_normal(shape)
    there = patches < np.quantile(patches, rng.uniform(*FLOOR_SHARE))
    spread, noise = (rng.uniform(*dbs) for dbs in (FLOOR_SPREAD_DB, FLOOR_NOISE_DB))
    gaps = rng.uniform(*FLOOR_GAPS)
    middle = float(reflectivity.levels(np.array([rng.uniform(*FLOOR_DBZ)]))[0])
    place = middle + spread * reflectivity.levels_per_db * rng.standard_normal(shape)
    for frame in levels:
        echo = place + noise * reflectivity.levels_per_db * rng.standard_normal(shape)
        echo *= there & (rng.random(shape) >= gaps)
        np.maximum(frame, np.clip(np.rint(echo), 0, PIXEL_LEVELS).astype(np.uint8), out=frame)
    levels *= mask


def add_noise(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Add normal noise in dB to each wet pixel of each frame."""
    import cv2

    noise = np.rint(NORMAL * rng.uniform(*NOISE_DB) * reflectivity.levels_per_db)
    drawn = _flat(rng.integers(BYTES, size=levels.shape, dtype=np.uint8))
    wet = levels > 0
    for sign, change in ((1, cv2.add), (-1, cv2.subtract)):  # saturating
        part = np.clip(sign * noise, 0, PIXEL_LEVELS).astype(np.uint8)
        _flat(levels)[:] = change(_flat(levels), cv2.LUT(drawn, part))
    levels *= wet


def flicker(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Let pixels show a neighbour, new in each frame, as where point sampling shrank it."""
    height, width = levels.shape[1:]
    steps = np.array([down * (width + 2) + right for down, right in NEIGHBOURS])
    flickering = round(rng.uniform(*FLICKERING) * BYTES)
    step_of_byte = np.zeros(BYTES, dtype=np.intp)
    step_of_byte[:flickering] = steps[np.arange(flickering) % len(steps)]
    pixels = np.arange((height + 2) * (width + 2)).reshape(height + 2, width + 2)[1:-1, 1:-1]
    for frame in levels:
        drawn = rng.integers(BYTES, size=frame.shape, dtype=np.uint8)
        frame[:] = np.pad(frame, 1, mode="edge").take(pixels + step_of_byte[drawn])
    levels *= mask


def limit_the_range(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Make faint echo dry; in some clips, cut off the strongest."""
    least, saturated, most = (
        rng.uniform(*DETECTABLE_DBZ),
        rng.random() < SATURATED,
        rng.uniform(*SATURATION_DBZ),
    )
    dbz = reflectivity.dbz_by_level
    shown = np.minimum(dbz, most) if saturated else dbz
    _look_up(levels, reflectivity.levels(np.where(dbz < least, -np.inf, shown)))


def classify(
    levels: Levels, mask: Mask, rng: np.random.Generator, reflectivity: Reflectivity
) -> None:
    """Show each class of reflectivity as its lower edge or its middle; below the first is dry."""
    count = int(rng.choice(CLASSES))
    edges, distance = np.linspace(*CLASSES_DBZ, count, retstep=True)
    edges += rng.uniform(-CLASS_JITTER, CLASS_JITTER, count) * distance
    uppers = np.append(edges[1:], edges[-1] + distance)
    shown = (edges + uppers) / 2 if rng.integers(2) else edges
    of_level = np.searchsorted(edges, reflectivity.dbz_by_level, side="right")
    _look_up(levels, reflectivity.levels(np.append(-np.inf, shown)[of_level]))


def _look_up(levels: Levels, table: np.ndarray) -> None:
    import cv2

    _flat(levels)[:] = cv2.LUT(_flat(levels), table)


def _flat(levels: Levels) -> np.ndarray:
    """A view of two axes: OpenCV takes a third for channels, of which it has few."""
    return levels.reshape(len(levels), -1)


Effect = Callable[[Levels, Mask, np.random.Generator, Reflectivity], None]

# As they come about: in the air, along the beam, in the receiver, in the product.
EFFECTS: tuple[Effect, ...] = (
    fade,
    take_column_maxima,
    attenuate,
    lose_with_range,
    block_beams,
    add_noise,
    flicker,
    raise_the_floor,
    limit_the_range,
    classify,
    cover_a_circle,
)
