"""Which places never hold rain, judged from what they show over time: the exclude mask, estimated.

After HKO-7 (Shi et al. 2017, "Deep Learning for Precipitation Nowcasting", on denoising): the
histogram over time at each place is a feature vector, and places whose Mahalanobis distance from
the mean exceeds the mean distance plus three standard deviations are outliers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt16
from scipy import ndimage

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.preparation.masking.outliers import outliers
from nowcast.precipitation.units import PIXEL_LEVELS

BINS = 32  # bin 0 is level 0 alone, the others take 8 or 9 levels (2.3 dB)
SAMPLED_FRAMES = 1000
FEWEST_FRAMES = 100
FEWEST_DAYS = 3
FEWEST_ECHOES = 10  # frames in which a place must have an echo before silence beside it is odd

RIDGE_FRAMES = 2.0
MOST_EXCLUDED = 0.3  # of the places, unless the caller allows more


@dataclass(frozen=True)
class StaticMask:
    """Places that never hold rain, by why.

    Args:
        silent: never an echo, where neighbours have many: a blocked beam, or out of reach.
        outlying: a histogram like nowhere else, as of ground clutter.
        frames: how many frames say so.
    """

    silent: Bool[np.ndarray, "height width"]
    outlying: Bool[np.ndarray, "height width"]
    frames: int

    @property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """The exclude mask, True = use."""
        return np.asarray(~(self.silent | self.outlying))

    def rows(self) -> list[list[str]]:
        """For a table: why, pixels, share of all pixels, nothing, frames."""
        return [
            [why, str(places.sum()), f"{places.mean():.2%}", "", str(self.frames)]
            for why, places in (("never an echo", self.silent), ("outlying", self.outlying))
        ]


def estimate_usable(
    archive: Archive,
    max_frames: int = SAMPLED_FRAMES,
    most_excluded: float = MOST_EXCLUDED,
    progress: Callable[[int, int], None] | None = None,
) -> StaticMask:
    """The exclude mask of an archive, from frames spread evenly over it.

    It departs from the paper in four ways, each because of what clutter does to the estimate:

    - Histograms have `BINS` bins instead of 255, so memory stays below 200 MB at 480x480.
    - Covariance is singular as a rule (bins that nothing fills), and a bin that three places fill
      once would make outliers of them. A ridge of (`RIDGE_FRAMES` / frames)^2 is added to its
      diagonal: so few frames in a bin are no evidence.
    - A tenth of all places can be clutter, which hides itself by widening the covariance. So mean
      and covariance come from the inner places alone, as in the minimum covariance determinant
      (Rousseeuw and Van Driessen 1999), then from all that the threshold leaves, until none moves.
    - The distances of rain are skewed, so the three standard deviations are taken of their
      logarithm; plainly taken they would also mark about one place of rain in a hundred.

    Places that never have an echo lie too near the mean to be outliers (most places are mostly
    dry). They are excluded where the places around them have `FEWEST_ECHOES` in the median; a
    corner that the rain merely did not reach has fewer at its edge.

    Args:
        archive: of at least `FEWEST_FRAMES` frames on `FEWEST_DAYS` days with rain.
        max_frames: frames to sample.
        most_excluded: the largest share of places that may be excluded.
        progress: called with (frames read, frames in all).

    Raises:
        ConfigError: too short, too dry or the same everywhere, or more than `most_excluded`.
        DataError: a sampled frame is damaged.
    """
    moments = _sample(archive, max_frames)
    counts = _histograms(archive, moments, progress)
    echoes = counts[1:].sum(axis=0, dtype=np.int64)
    if np.median(echoes) < FEWEST_ECHOES:
        raise ConfigError(
            f"{archive.root}: expected an echo in {FEWEST_ECHOES} of {len(moments)} sampled frames "
            f"at half of the pixels, found {np.median(echoes):g}: too dry to tell clutter from "
            "rain; sample more frames (--frames), or give an archive of rainy days"
        )
    if not (counts != counts[:, :1]).any():
        raise ConfigError(
            f"{archive.root}: expected pixels that differ over time, found the same at all of them "
            f"in {len(moments)} sampled frames; see what the frames hold with `nowcast data info`"
        )
    silent = _silent(echoes.reshape(archive.shape))
    features = (counts[1:, ~silent.ravel()].T / np.float32(len(moments))).astype(np.float32)
    outlying = np.zeros(archive.shape, dtype=bool)
    outlying[~silent] = outliers(features, RIDGE_FRAMES / len(moments))
    found = StaticMask(silent, outlying, len(moments))
    excluded = 1 - float(found.usable.mean())
    if excluded > most_excluded:
        raise ConfigError(
            f"{archive.root}: expected to exclude at most {most_excluded:.0%} of the pixels, found "
            f"{excluded:.1%} ({silent.mean():.1%} without an echo, {outlying.mean():.1%} outlying)"
            "; if the radar covers no more, allow it with --most"
        )
    return found


def _sample(archive: Archive, max_frames: int) -> Moments:
    if max_frames < FEWEST_FRAMES:
        raise ConfigError(f"frames: expected at least {FEWEST_FRAMES}, found {max_frames}")
    last = len(archive.moments) - 1
    places = np.linspace(0, last, min(max_frames, last + 1)).round().astype(np.int64)
    moments = archive.moments[places]
    days = len(np.unique(moments.astype("datetime64[D]")))
    if len(moments) < FEWEST_FRAMES or days < FEWEST_DAYS:
        raise ConfigError(
            f"{archive.root}: expected at least {FEWEST_FRAMES} frames on {FEWEST_DAYS} days to "
            f"tell clutter from rain, found {len(moments)} on {days}; give a longer archive, or do "
            "without an exclude mask (data.masks: frame)"
        )
    return moments


def _histograms(
    archive: Archive, moments: Moments, progress: Callable[[int, int], None] | None
) -> UInt16[np.ndarray, "bin place"]:
    """Frames per bin at every place."""
    bin_of = np.zeros(PIXEL_LEVELS + 1, dtype=np.int64)
    bin_of[1:] = 1 + np.arange(PIXEL_LEVELS) * (BINS - 1) // PIXEL_LEVELS
    places = np.arange(archive.shape[0] * archive.shape[1])
    counts = np.zeros((BINS, len(places)), dtype=np.uint16)
    for done, moment in enumerate(moments, start=1):
        counts[bin_of[archive.frame(moment)].ravel(), places] += 1
        if progress is not None:
            progress(done, len(moments))
    return counts


def _silent(echoes: Int[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Connected places without an echo whose neighbours have `FEWEST_ECHOES` in the median."""
    touching = np.ones((3, 3), dtype=bool)
    regions, count = ndimage.label(echoes == 0, structure=touching)
    # Every place beside a region knows which one: the dilated labels, off the regions themselves.
    beside = np.where(regions == 0, ndimage.grey_dilation(regions, footprint=touching), 0)
    numbers = np.arange(1, count + 1)
    around = np.asarray(ndimage.median(echoes, beside, numbers)) if count else np.zeros(0)
    odd = numbers[around >= FEWEST_ECHOES]  # NaN, nothing beside it, is not
    return np.asarray(np.isin(regions, odd))
