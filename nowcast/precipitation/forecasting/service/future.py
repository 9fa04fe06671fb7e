"""Frames that are dated later than it is: refused until their time has come."""

from collections.abc import Iterable

import numpy as np

from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.forecasting.products.outlet import Say

Now = tuple[np.datetime64, np.datetime64]  # the earliest and the latest that it can be


class Future:
    """Tells frames of the future from others, look after look.

    Args:
        step: between frames; a frame may be so much later than the clock.
        say: tells the user of each that is refused, once.
    """

    def __init__(self, step: np.timedelta64, say: Say) -> None:
        self._step = step
        self._say = say
        self._refused: set[np.datetime64] = set()

    def are_past(self, moments: Moments, now: Now) -> np.ndarray:
        """True for each frame that is not of the future. One that has been refused waits until its
        time has surely come."""
        earliest, latest = now[0], now[1] + self._step
        refused = np.isin(moments, np.array(sorted(self._refused), dtype=moments.dtype))
        past: np.ndarray = moments <= np.where(refused, earliest, latest)
        return past

    def settle(self, future: Iterable[np.datetime64], now: Now, found: bool) -> Moments:
        """Refuse these frames; if there are no others, the clock is taken to be wrong.

        Args:
            future: the frames of the future.
            now: when that is.
            found: there are other frames.

        Returns:
            those of them that are used all the same, ascending.
        """
        held = set(future)
        fresh = sorted(held - self._refused)
        if fresh:
            several = f" (and {len(fresh) - 1} more, to {fresh[-1]})" if len(fresh) > 1 else ""
            later = f"{fresh[0]}{several}: later than the clock, {now[1]}, by more than a step"
            if found:
                self._say(f"{later}: refused until then; check the time of the frame, or the clock")
            else:
                self._say(f"{later}, as are all frames: the clock is taken to be wrong; set it")
        self._refused = held
        return np.array([] if found else sorted(held), dtype="datetime64[m]")
