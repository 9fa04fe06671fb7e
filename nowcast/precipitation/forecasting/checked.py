"""The newest frames without those that an outage of the radar made dry or left standing still."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.forecasting import inputs
from nowcast.precipitation.forecasting.inputs import Frame, FrameSource, Inputs
from nowcast.precipitation.forecasting.outages import (
    STRONG_MM_H,
    WEAK_MM_H,
    Outages,
    find_outages,
    part_note,
    reach_px,
)
from nowcast.precipitation.units import PIXEL_LEVELS


class CheckedSource(FrameSource):
    """A source without what has been found suspect: a frame cannot be used, a part is masked."""

    def __init__(self, source: FrameSource) -> None:
        self.__dict__.update(source.__dict__)
        self.frames: dict[np.datetime64, str] = {}
        self.parts: dict[np.datetime64, Bool[np.ndarray, "height width"]] = {}

    def read(self, moment: np.datetime64) -> tuple[Frame, Bool[np.ndarray, "height width"]]:
        """As its base; a suspect frame raises FrameError."""
        if moment in self.frames:
            raise FrameError(self.frames[moment])
        levels, mask = super().read(moment)
        part = self.parts.get(moment)
        if part is None:
            return levels, mask
        if not (mask & ~part).any():
            raise FrameError(part_note(1.0))
        return levels, mask & ~part


def newest(
    source: FrameSource,
    in_len: int,
    at: np.datetime64 | None = None,
    moments: Moments | None = None,
    least: int | None = None,
) -> Inputs:
    """As `inputs.newest`; what is suspect (`outages`) counts as missing, and `suspect` names it.

    Raises:
        ConfigError: there is no frame so early.
        DataError: too many of the frames are missing, damaged or suspect.
    """
    checked = CheckedSource(source)
    while True:
        found = inputs.newest(checked, in_len, at, moments, least)
        outages = _outages(found, source)
        if not _add(checked, found, outages):
            break
    return replace(found, suspect=_said(checked, found))


def _outages(found: Inputs, source: FrameSource) -> Outages:
    description = source.description
    calibration = description.calibration
    weak, strong = map(float, calibration.pixel_from_rate((WEAK_MM_H, STRONG_MM_H)))
    if found.levels.dtype == np.uint8:  # a level is a rounded pixel
        weak, strong = PIXEL_LEVELS * weak - 0.5, PIXEL_LEVELS * strong - 0.5
    return find_outages(
        found.levels,
        found.mask,
        weak,
        strong,
        reach_px(description.step_minutes, description.km_per_pixel),
    )


def _add(checked: CheckedSource, found: Inputs, outages: Outages) -> bool:
    """Take what has been found out of the source; whether there was anything."""
    for position, reason in outages.frames.items():
        checked.frames[found.times[position]] = reason
    for position, part in outages.parts.items():
        moment = found.times[position]
        known = checked.parts.get(moment)
        checked.parts[moment] = part if known is None else part | known
    return bool(outages)


def _said(checked: CheckedSource, found: Inputs) -> dict[str, str]:
    """Moment -> what is suspect, of all that was found."""
    said = {str(moment): reason for moment, reason in checked.frames.items()}
    for moment, part in checked.parts.items():
        said.setdefault(str(moment), part_note(float(part.mean())))
    return dict(sorted(said.items()))
