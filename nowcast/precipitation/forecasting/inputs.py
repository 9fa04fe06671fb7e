"""The newest frames of an archive, as a forecast starts from them; what is missing is stated."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import DESCRIPTION, Description
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.reader import RadarFrames
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.frames_needed import takers

MaskKind = Literal["frame", "exclude", "both"]

# A frame that is carried stands still: over two in a row the motion is no longer seen, and with
# more than a third carried, too little of it.
MOST_MISSING_IN_A_ROW = 1
MOST_MISSING_OF = 3  # one in so many


@dataclass(frozen=True)
class Inputs:
    """The frames that a forecast starts from.

    Args:
        levels: the frames: 8-bit levels (uint8) of an archive, or pixels in [0, 1] (float32) of
            radar files, which have finer values; a missing one repeats the frame before it.
        mask: True = use; all False where the frame is missing.
        times: valid time of each, UTC, a step apart; the last one is the init time.
        carried: time of each missing frame -> why there is none.
        passed_over: time of each newer frame that cannot be used -> why not.
        masks: which masks the archive had for them, in words.
        step: time between them.
        asked: the time that was asked for; None is the newest.
        about: what a user must know of their archive, a sentence each.
        suspect: time of each frame that looks like an outage -> why; see `checked`. A part of a
            frame is masked; a whole one is among `carried` or `passed_over` too.
    """

    levels: UInt8[np.ndarray, "in_len height width"] | Float32[np.ndarray, "in_len height width"]
    mask: Bool[np.ndarray, "in_len height width"]
    times: Moments
    carried: Mapping[str, str]
    passed_over: Mapping[str, str]
    masks: str
    step: np.timedelta64
    asked: np.datetime64 | None = None
    about: tuple[str, ...] = ()
    suspect: Mapping[str, str] = field(default_factory=dict)

    @property
    def init(self) -> np.datetime64:
        """The init time."""
        return np.datetime64(self.times[-1], "m")

    @property
    def notes(self) -> list[str]:
        """What a user must know of them, a sentence each."""
        found = [*self.about]
        if self.asked is not None and self.asked - self.init >= self.step:
            found.append(f"--at {self.asked}: the newest frame up to then is of {self.init}")
        return [
            *found,
            *(
                f"{moment}: passed over, the forecast starts from {self.init} ({why})"
                for moment, why in self.passed_over.items()
            ),
            *(
                f"{moment}: missing, carried from the frame before it ({why})"
                for moment, why in self.carried.items()
            ),
            *(
                f"{moment}: partly taken for no data ({why})"
                for moment, why in self.suspect.items()
                if moment not in self.carried and moment not in self.passed_over
            ),
        ]


Frame = UInt8[np.ndarray, "height width"] | Float32[np.ndarray, "height width"]
Frames = dict[np.datetime64, tuple[Frame, Bool[np.ndarray, "height width"]]]


class FrameSource:
    """Reads the frames of an archive, or of radar files, with the masks that a forecaster knows.

    Args:
        archive: a tree or a pack, or other frames (`sources.feed.reader.Feed`).
        wanted: ``data.masks`` of the forecaster. The exclude mask is used where there is one, and
            the frames' own where they are wanted or there is no other; without any, all is data.

    Raises:
        DataError: the exclude mask is damaged.
    """

    def __init__(self, archive: RadarFrames, wanted: MaskKind) -> None:
        self.archive = archive
        self._wanted = wanted
        self._usable = None if wanted == "frame" else _exclude(archive)

    @property
    def own(self) -> bool:
        """Whether the frames' own masks are used."""
        return self.archive.has_masks and (self._wanted != "exclude" or self._usable is None)

    @property
    def masks(self) -> str:
        """Which masks are used, in words."""
        exclude = self._usable is not None
        if self.own:
            return "frame and exclude" if exclude else "frame"
        return "exclude" if exclude else "none: all pixels count as data"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must know of the archive, a sentence each."""
        archive = self.archive
        fault = self.description.grid_fault
        if fault is not None:
            return (fault,)
        if not isinstance(archive, Archive) or archive.origin == DESCRIPTION:
            return archive.notes
        found = archive.description
        return (
            f"{archive.root} has no {DESCRIPTION}: taken for frames {found.step_minutes} minutes "
            f"apart with Z = {found.zr_a:g} R^{found.zr_b:g}, HKO-7's; write one if that is wrong",
        )

    @property
    def description(self) -> Description:
        """What the frames' numbers mean, and where their pixels lie: a pack may hold a part."""
        top, _, left, _ = self.archive.held
        return self.archive.description.part(top, left, *self.archive.shape)

    def read(self, moment: np.datetime64) -> tuple[Frame, Bool[np.ndarray, "height width"]]:
        """Frame (see `Inputs.levels`) and mask (True = use) of one moment.

        Raises:
            FrameError: frame or mask is absent or damaged, or the mask leaves no data.
        """
        levels = self.archive.frame(moment)
        mask = self.archive.mask(moment) if self.own else np.ones(levels.shape, dtype=bool)
        if self._usable is not None:
            mask = mask & self._usable
        if not mask.any():
            raise FrameError(f"{self.archive.root}: the frame of {moment} is masked everywhere")
        return levels, mask


def _exclude(archive: RadarFrames) -> Bool[np.ndarray, "height width"] | None:
    try:
        return archive.usable
    except ConfigError:  # there is none
        return None


def newest(
    source: FrameSource,
    in_len: int,
    at: np.datetime64 | None = None,
    moments: Moments | None = None,
    least: int | None = None,
) -> Inputs:
    """The last `in_len` steps up to the newest frame that can be used, or fewer where older ones
    are missing; a note says so.

    Args:
        source: of the frames.
        in_len: how many a forecaster takes.
        at: no frame after this moment, UTC; None takes what is newest.
        moments: those that may be used, ascending; None is all of the archive.
        least: the fewest that the forecaster can do with; None: `in_len`.

    Raises:
        ConfigError: there is no frame so early.
        DataError: too many of the frames are missing or damaged.
    """
    step = source.archive.step
    known = source.archive.moments if moments is None else moments
    if at is not None and len(known):
        if at < known[0]:
            raise ConfigError(
                f"--at {at}: expected a time not before the first frame of {source.archive.root}, "
                f"{known[0]}; choose a later one"
            )
        known = known[known <= at]
    frames, unusable = _newest_usable(source, known[-in_len:])
    init = max(frames)
    passed_over = dict(sorted(unusable.items()))
    wanted = times = init + step * np.arange(1 - in_len, 1)
    for moment in times[:-1]:
        _read(source, moment, known, frames, unusable)
    least = in_len if least is None else min(least, in_len)
    for count in range(in_len, least - 1, -1):
        times = wanted[in_len - count :]
        sequence = list(times)
        if times[0] in unusable:  # it is carried from the one before it
            sequence.insert(0, times[0] - step)
            _read(source, sequence[0], known, frames, unusable)
        missing = [moment for moment in times if moment in unusable]
        if (
            len(missing) * MOST_MISSING_OF <= count
            and _longest_run(moment in unusable for moment in sequence) <= MOST_MISSING_IN_A_ROW
        ):
            break
    else:
        raise DataError(_too_few(source, wanted, unusable, known, least))
    about = source.notes
    if len(times) < in_len:
        about += (
            f"{len(times)} input frames, from {times[0]} on: older ones are missing, of the "
            f"{in_len} that the forecaster takes",
        )
    for earlier, moment in pairwise(sequence):
        if moment in unusable:
            frames[moment] = frames[earlier][0], np.zeros(source.archive.shape, dtype=bool)
    return Inputs(
        np.stack([frames[moment][0] for moment in times]),
        np.stack([frames[moment][1] for moment in times]),
        times,
        {str(moment): unusable[moment] for moment in missing},
        {str(moment): why for moment, why in passed_over.items()},
        source.masks,
        step,
        at,
        about,
    )


def _newest_usable(
    source: FrameSource, candidates: Moments
) -> tuple[Frames, dict[np.datetime64, str]]:
    """The newest frame that can be used, by its moment, and why each newer one cannot."""
    unusable: dict[np.datetime64, str] = {}
    for moment in candidates[::-1]:
        try:
            return {moment: source.read(moment)}, unusable
        except FrameError as error:
            unusable[moment] = str(error)
    reason = next(iter(unusable.values()), "it has none")
    raise DataError(
        f"{source.archive.root}: expected a frame to start from, found that none of the newest "
        f"{len(candidates)} can be used ({reason}); fetch them again, or give --at with an earlier "
        "time"
    )


def _read(
    source: FrameSource,
    moment: np.datetime64,
    known: Moments,
    frames: Frames,
    unusable: dict[np.datetime64, str],
) -> None:
    """Put the frame of a time among `frames`, or why there is none among `unusable`."""
    if moment in frames or moment in unusable:
        return
    at = np.searchsorted(known, moment)
    if at == len(known) or known[at] != moment:
        unusable[moment] = "no frame"
        return
    try:
        frames[moment] = source.read(moment)
    except FrameError as error:
        unusable[moment] = str(error)


def _longest_run(flags: Iterable[bool]) -> int:
    run = longest = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _too_few(
    source: FrameSource,
    times: Moments,
    unusable: Mapping[np.datetime64, str],
    known: Moments,
    least: int,
) -> str:
    found = [moment for moment in times if moment not in unusable]
    reasons = [why for moment, why in unusable.items() if why != "no frame" and moment in times]
    damaged = dict.fromkeys(reasons)  # an outage has one for many frames
    step = source.archive.step
    complete = _last_complete(known[~np.isin(known, list(unusable))], step, len(times))
    other = takers(_newest_run(times, unusable))
    if complete is not None:
        other = f"give --at {complete}, up to which none is missing, or {other}"
    enough = "" if least == len(times) else f" ({least} in a row would do)"
    return (
        f"{source.archive.root}: expected {len(times)} frames{enough} {step.astype(int)} minutes "
        f"apart, from {times[0]} to {times[-1]}, of which {len(times) // MOST_MISSING_OF} may be "
        f"missing but not {MOST_MISSING_IN_A_ROW + 1} in a row; found {len(found)}, from "
        f"{found[0]} to {found[-1]}{''.join(f'; {why}' for why in damaged)}. Fetch those that are "
        f"missing, or {other}"
    )


def _newest_run(times: Moments, unusable: Mapping[np.datetime64, str]) -> int:
    """How many of the newest frames are there in a row."""
    run = 0
    for moment in times[::-1]:
        if moment in unusable:
            break
        run += 1
    return run


def _last_complete(known: Moments, step: np.timedelta64, in_len: int) -> np.datetime64 | None:
    """The last time before which, and at which, all frames are there by name."""
    complete = known
    for earlier in range(1, in_len):
        complete = complete[np.isin(complete - earlier * step, known)]
    return complete[-1] if len(complete) else None
