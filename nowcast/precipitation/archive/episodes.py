"""Where an archive's episodes end: only a gap within one leaves frames out."""

import numpy as np
from jaxtyping import Int64

from nowcast.precipitation.archive.frames import Moments

# A longer gap parts two episodes, and nothing is missing in it: six hours without rain part two
# storms (Huff 1967, doi:10.1029/WR003i004p01007).
EPISODE_GAP = np.timedelta64(6, "h")
EPISODE_GAP_STEPS = 6  # and at least so many steps, for archives of a long step


def missing_frames(moments: Moments, step: np.timedelta64) -> int:
    """Frames that gaps within episodes leave out, see `EPISODE_GAP`."""
    return int(missing_in_gaps(moments, step).sum())


def missing_in_gaps(moments: Moments, step: np.timedelta64) -> Int64[np.ndarray, " gap"]:
    """How many frames are missing between each two neighbouring times; 0 between episodes."""
    gaps = np.diff(moments)
    longest = max(EPISODE_GAP.astype("timedelta64[m]"), EPISODE_GAP_STEPS * step)
    steps = np.rint(gaps / step).astype(np.int64)
    return np.where(gaps <= longest, np.maximum(steps - 1, 0), 0)
