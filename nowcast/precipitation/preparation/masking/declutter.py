"""Echoes of one frame that are not rain: speckle, thin rings around the radar, and sun spikes.

Every test is of shape, so one frame is enough. What it takes for rain stays; nothing is filled in.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from skimage.morphology import remove_small_objects

from nowcast.precipitation.synthetic.clutter import Struck
from nowcast.precipitation.synthetic.polar import RAYS, Polar
from nowcast.precipitation.units import DBZ_SPAN, PIXEL_LEVELS

SPECKLE_PX = 4  # the largest group of pixels that touch which is taken for speckle
SPECKLE_ALONE_PX = 13  # side of the square around a speckle ...
SPECKLE_CROWD_PX = 8  # ... that holds at most so many echoes, its own among them

STAND_OUT = round(5 * PIXEL_LEVELS / DBZ_SPAN)  # 5 dBZ above what lies on both sides, in levels

RING_SPAN_PX = 5  # a ring is thinner: range bins that the opening across takes
RING_ARC = round(RAYS * 8 / 360)  # its shortest piece, in rays
RING_SHARE = 0.25  # of the circle that must be seen
RING_INNERMOST = 0.1  # of half the shorter side: smaller circles are a handful of pixels

SPIKE_SPAN = 2 * round(RAYS * 3 / 360) + 1  # a spike is narrower than 6.5 degrees, in rays
SPIKE_PIECE = 0.08  # its shortest piece, of half the shorter side
SPIKE_SHARE = 0.35  # of its ray that must be seen
SPIKE_FROM = 0.25  # of half the shorter side: further in every pixel spans a spike's width
SPIKE_ROUGH_DBZ = 2.0  # standard deviation along the ray, range correction taken off

UNBROKEN = 0.85  # of ring or ray where rain does not hide it: the rest may be without echo


class Declutter:
    """Finds clutter in the frames of one radar.

    Args:
        usable: the archive's exclude mask, True = use; what lies outside is filled from the
            nearest usable pixel first, lest the edge of a blocked sector look like a spike.
        radar: its (row, column); the middle of the frame if None.
    """

    def __init__(
        self,
        usable: Bool[np.ndarray, "height width"],
        radar: tuple[float, float] | None = None,
    ) -> None:
        shape = (usable.shape[0], usable.shape[1])
        self._usable = usable
        self._nearest = ndimage.distance_transform_edt(
            ~usable, return_distances=False, return_indices=True
        )
        self._polar = Polar(shape, radar)
        self._known = self._polar.inside & self._polar.scan(usable)
        self._edge = min(shape) / 2
        self._range = np.arange(self._polar.reach + 1)
        self._correction = 20 * np.log10(np.maximum(1, self._range)).astype(np.float32)  # dB

    def find(self, levels: UInt8[np.ndarray, "height width"]) -> Struck:
        """True at the usable echoes of a frame that are of each kind; a pixel is of one at most.

        Args:
            levels: 8-bit, 0 = no echo.
        """
        echo = (levels > 0) & self._usable
        rays = self._polar.scan(levels[tuple(self._nearest)])
        ring = self._rings(levels, rays) & echo
        spike = self._spikes(levels, rays) & echo & ~ring
        return {"speckle": speckle(echo & ~ring & ~spike), "ring": ring, "spike": spike}

    def _rings(
        self,
        levels: UInt8[np.ndarray, "height width"],
        rays: UInt8[np.ndarray, "ray bin"],
    ) -> Bool[np.ndarray, "height width"]:
        """Top-hat across the range, opening along the azimuth, and nearly the whole circle.

        A front that bends around the radar is thicker; one that is thin covers part of a circle
        and leaves the rest dry.
        """
        around = ndimage.grey_opening(rays, size=(1, RING_SPAN_PX))
        # A ring's pixels are up to a bin off their circle, and a thin one's a ray.
        thin = ndimage.maximum_filter(rays - around, 3, mode=("wrap", "nearest")) > STAND_OUT
        hits = _opened(thin, RING_ARC, axis=0)
        dry = (ndimage.maximum_filter(rays, 3, mode=("wrap", "nearest")) == 0) & self._known
        seen, missed = (hits & self._known).sum(axis=0), dry.sum(axis=0)
        found = (seen >= RING_SHARE * RAYS) & (seen >= UNBROKEN * (seen + missed))
        found &= (self._range >= RING_INNERMOST * self._edge) & (self._range < self._edge)
        return self._standing_out(levels, around, thin & found)

    def _spikes(
        self,
        levels: UInt8[np.ndarray, "height width"],
        rays: UInt8[np.ndarray, "ray bin"],
    ) -> Bool[np.ndarray, "height width"]:
        """Top-hat across the azimuth, opening along the range, and nearly the whole ray.

        A band of rain that points at the radar is as wide near it as far out: in azimuth it widens
        towards the radar and the opening keeps it. Where that is not seen, how Z goes along the
        ray tells: of the sun (or another sender) comes one power, which range correction makes
        Z ~ range^2. Rain is rough, or closer to one Z than to that.
        """
        around = ndimage.grey_opening(rays, size=(SPIKE_SPAN, 1), mode="wrap")
        thin = rays - around > STAND_OUT
        hits = _opened(thin, max(3, round(SPIKE_PIECE * self._edge)), axis=1)
        known = self._known & (self._range >= SPIKE_FROM * self._edge)
        seen = (hits & known).sum(axis=1)
        missed = ((rays == 0) & known).sum(axis=1)
        found = (seen >= SPIKE_SHARE * known.sum(axis=1)) & (seen > 0)
        found &= seen >= UNBROKEN * (seen + missed)
        dbz = rays * np.float32(DBZ_SPAN / PIXEL_LEVELS)
        rough = _spread(dbz - self._correction, hits & known)
        found &= (rough <= SPIKE_ROUGH_DBZ) & (rough < _spread(dbz, hits & known))
        found = ndimage.maximum_filter1d(found, 3, mode="wrap")  # its sides are half in a ray
        return self._standing_out(levels, around, found[:, None] & np.ones_like(thin))

    def _standing_out(
        self,
        levels: UInt8[np.ndarray, "height width"],
        around: UInt8[np.ndarray, "ray bin"],
        marked: Bool[np.ndarray, "ray bin"],
    ) -> Bool[np.ndarray, "height width"]:
        above = levels.astype(np.int16) - self._polar.back(around)
        return np.asarray((above > STAND_OUT) & self._polar.back(marked))


def speckle(echo: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """The echoes in groups of at most `SPECKLE_PX` touching pixels that stand alone.

    Broken drizzle is small groups too, but in a crowd.
    """
    small = echo & ~remove_small_objects(echo, max_size=SPECKLE_PX, connectivity=2)
    side = SPECKLE_ALONE_PX
    around = ndimage.uniform_filter(echo.astype(np.float32), side, mode="constant") * side**2
    return np.asarray(small & (around < SPECKLE_CROWD_PX + 0.5))


def _opened(
    marks: Bool[np.ndarray, "ray bin"], length: int, axis: int
) -> Bool[np.ndarray, "ray bin"]:
    size = (length, 1) if axis == 0 else (1, length)
    mode = "wrap" if axis == 0 else "nearest"
    return np.asarray(ndimage.grey_opening(marks.astype(np.uint8), size=size, mode=mode) > 0)


def _spread(
    field: Float[np.ndarray, "ray bin"], taken: Bool[np.ndarray, "ray bin"]
) -> Float[np.ndarray, " ray"]:
    """Standard deviation along each ray of what is taken; 0 where nothing is."""
    count = np.maximum(1, taken.sum(axis=1))
    mean = np.where(taken, field, 0).sum(axis=1) / count
    square = np.where(taken, field - mean[:, None], 0) ** 2
    return np.asarray(np.sqrt(square.sum(axis=1) / count))
