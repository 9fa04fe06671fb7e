"""The clock of a source: one step, and every frame on it."""

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.description import LONGEST_STEP_MINUTES
from nowcast.precipitation.importers.field import Source
from nowcast.precipitation.index import commonest_gap


def step_between(source: Source, step_minutes: int | None) -> int:
    """Minutes between frames: as stated, or the commonest gap.

    Args:
        source: whose moments grow.
        step_minutes: as the user states it; None for the commonest gap.

    Raises:
        ConfigError: a single frame and no step, or frames too far apart.
        DataError: a moment does not lie on the step, counted from the first.
    """
    minutes = source.moments.astype("datetime64[m]").astype(np.int64)
    if step_minutes is None:
        if len(minutes) < 2:
            raise ConfigError(
                f"--step: {source.where(0)} is a single frame, which does not tell the minutes "
                "between frames; give them"
            )
        step_minutes = int(commonest_gap(source.moments) / np.timedelta64(1, "m"))
        if step_minutes > LONGEST_STEP_MINUTES:
            raise ConfigError(
                f"--step: {source.name} has frames {step_minutes} minutes apart, expected at most "
                f"{LONGEST_STEP_MINUTES}; give the step the radar has"
            )
    off = (minutes - minutes[0]) % step_minutes != 0
    if off.any():
        position = int(off.argmax())
        raise DataError(
            f"{source.where(position)}: expected times every {step_minutes} minutes from "
            f"{source.moments[0]} on, found {source.moments[position]}; remove what lies between, "
            "or give --step"
        )
    return step_minutes
