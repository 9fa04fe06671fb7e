"""The clock of a source: one step, and every frame on it."""

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import LONGEST_STEP_MINUTES
from nowcast.precipitation.archive.index import commonest_gap
from nowcast.precipitation.sources.field import Source


def step_between(source: Source, step_minutes: int | None) -> int:
    """Minutes between frames: as stated, or the commonest gap.

    The clock that most frames agree on is the right one: whichever frame comes first, those off it
    are named.

    Args:
        source: whose times grow.
        step_minutes: as the user states it; None for the commonest gap, or what a single frame
            states (`Source.stated_step`).

    Raises:
        ConfigError: a single frame and no step, or frames too far apart.
        DataError: a time does not lie on the step.
    """
    minutes = source.times.astype("datetime64[m]").astype(np.int64)
    if step_minutes is None and len(minutes) < 2:
        step_minutes = source.stated_step
        if step_minutes is None:
            raise ConfigError(
                f"--step: {source.where(0)} is a single frame, which does not tell the minutes "
                "between frames; give them"
            )
    if step_minutes is None:
        step_minutes = int(commonest_gap(source.times) / np.timedelta64(1, "m"))
    if step_minutes > LONGEST_STEP_MINUTES:
        raise ConfigError(
            f"--step: {source.name} has frames {step_minutes} minutes apart, expected at most "
            f"{LONGEST_STEP_MINUTES}; give the step the radar has"
        )
    after, counts = np.unique(minutes % step_minutes, return_counts=True)
    # Of clocks that as many frames agree on, the first frame's.
    clock = max(
        after, key=lambda rest: (counts[after == rest][0], rest == minutes[0] % step_minutes)
    )
    off = minutes % step_minutes != clock
    if off.any():
        position = int(off.argmax())
        right = source.times[int((~off).argmax())]
        raise DataError(
            f"{source.where(position)}: expected times every {step_minutes} minutes as {right} "
            f"and {int((~off).sum()) - 1} others have, found {source.times[position]}"
            f"{_others(int(off.sum()) - 1)}; remove what lies between, or give --step"
        )
    return step_minutes


def _others(count: int) -> str:
    return f" and {count} more off this clock" if count else ""
