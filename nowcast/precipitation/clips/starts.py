"""When clips begin: within an episode, on its step; and which of them are of one rain."""

import numpy as np

from nowcast.precipitation.archive.frames import Moments

# Longer than rain remembers itself, 2 to 3 hours even at 250 km (Germann et al. 2006,
# doi:10.1175/JAS3735.1), so that blocks are nearly independent of each other.
BLOCK_HOURS = 6


def episodes(moments: Moments, step: np.timedelta64, max_missing: int) -> list[Moments]:
    """Split times where more than `max_missing` frames in a row are missing, or the time is off
    the step."""
    gaps = np.diff(moments)
    breaks = (gaps > step * (max_missing + 1)) | (gaps % step != np.timedelta64(0, "m"))
    return np.split(moments, np.flatnonzero(breaks) + 1) if len(moments) else []


def clip_starts(
    moments: Moments, step: np.timedelta64, length: int, stride: int, max_missing: int
) -> Moments:
    """First times of all clips of `length` frames, every `stride` steps from the start of each
    episode.

    Up to `max_missing` frames in a row may be missing anywhere in a clip, its ends included, as the
    HKO-7 benchmark has it (Shi et al. 2017); there the count of clips is part of the result.
    """
    starts: list[Moments] = []
    for episode in episodes(moments, step, max_missing):
        last = episode[-1] - step * (length - 1 - min(max_missing, length - 1))
        starts.append(np.arange(episode[0], last + step, step * stride))
    if not starts:
        return moments[:0]
    return np.concatenate(starts)


def episode_starts(
    starts: Moments, moments: Moments, step: np.timedelta64, max_missing: int
) -> Moments:
    """Of each clip the first time of its episode."""
    firsts = np.array([episode[0] for episode in episodes(moments, step, max_missing)])
    return np.asarray(firsts[np.searchsorted(firsts, starts, side="right") - 1])


def blocks(starts: Moments, episode_starts: Moments) -> Moments:
    """Of each clip the start of its block: its episode, cut every `BLOCK_HOURS`."""
    length = np.timedelta64(60 * BLOCK_HOURS, "m")
    since = (starts - episode_starts) // length * length
    return np.asarray(episode_starts + since, dtype="datetime64[m]")
