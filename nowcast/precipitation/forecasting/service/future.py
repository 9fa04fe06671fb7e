"""Frames that are dated later than it is: refused until their time has come."""

from collections.abc import Callable, Iterable

import numpy as np

from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.forecasting.products.outlet import Say

State = tuple[tuple[int, int], ...]  # size and time of change of files
Now = tuple[np.datetime64, np.datetime64]  # the earliest and the latest that it can be


class Future:
    """Tells frames of the future from others, look after look.

    Args:
        step: between frames; a frame may be so much later than the clock.
        state: of the files of a frame; raises OSError or FrameError where one is gone.
        say: tells the user of each that is refused, once.
    """

    def __init__(
        self, step: np.timedelta64, state: Callable[[np.datetime64], State], say: Say
    ) -> None:
        self._step = step
        self._state_of = state
        self._say = say
        self._refused: dict[np.datetime64, State | None] = {}

    def are_past(self, moments: Moments, now: Now) -> np.ndarray:
        """True for each frame that is not of the future. One that has been refused waits until its
        time has surely come, or it is written again."""
        earliest, latest = now[0], now[1] + self._step
        as_before = [at for at, state in self._refused.items() if self._state(at) == state]
        refused = np.isin(moments, np.array(as_before, dtype=moments.dtype))
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
        fresh = sorted(held - self._refused.keys())
        if fresh:
            several = f" (and {len(fresh) - 1} more, to {fresh[-1]})" if len(fresh) > 1 else ""
            later = f"{fresh[0]}{several}: later than the clock, {now[1]}, by more than a step"
            if found:
                self._say(f"{later}: refused until then; check the time of the frame, or the clock")
            else:
                self._say(f"{later}, as are all frames: the clock is taken to be wrong; set it")
        self._refused = {at: self._refused.get(at) or self._state(at) for at in held}
        return np.array([] if found else sorted(held), dtype="datetime64[m]")

    def _state(self, moment: np.datetime64) -> State | None:
        try:
            return self._state_of(moment)
        except (OSError, FrameError):
            return None
