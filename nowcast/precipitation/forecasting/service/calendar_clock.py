"""What time it can be, by a clock that may jump: frames dated later than that are refused."""

from collections import deque
from collections.abc import Callable

import numpy as np

SAMPLED_SECONDS = 60.0
KEPT_SECONDS = 24 * 3600.0

Clock = Callable[[], float]  # seconds


class CalendarClock:
    """Between which times it is now: what the clock on the wall says, and what it said for most of
    the last day plus the seconds since. So a clock that is put back for hours, as after a wrong
    correction, stops nothing, and one that is put forward is believed at once, but no longer than
    it says so.

    Args:
        steady: seconds that never jump.
        wall: seconds since 1970, UTC.
    """

    def __init__(self, steady: Clock, wall: Clock) -> None:
        self._steady = steady
        self._wall = wall
        self._offsets: deque[tuple[float, float]] = deque()  # when, and wall less steady

    def now(self) -> np.datetime64:
        """What the clock on the wall says, UTC, whole seconds."""
        return _utc(self._wall())

    def between(self) -> tuple[np.datetime64, np.datetime64]:
        """The earliest and the latest time that it can be, UTC, whole seconds."""
        steady, wall = self._steady(), self._wall()
        if not self._offsets or steady - self._offsets[-1][0] >= SAMPLED_SECONDS:
            self._offsets.append((steady, wall - steady))
        while steady - self._offsets[0][0] > KEPT_SECONDS:
            self._offsets.popleft()
        usual = steady + float(np.median([offset for _, offset in self._offsets]))
        return _utc(min(wall, usual)), _utc(max(wall, usual))


def _utc(seconds: float) -> np.datetime64:
    return np.datetime64(int(seconds), "s")
