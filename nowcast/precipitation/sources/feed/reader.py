"""The frames of radar files as they arrive: what a forecast needs of an archive, without one.

Files are recognised by their content, decoded in a process apart (`apart`) and checked as `nowcast
data convert` checks them; their values reach the forecaster in single precision::

    feed = Feed([Path("incoming")])            # or files, folders, globs
    source = FrameSource(feed, "frame")        # of `forecasting.inputs`
    inputs = newest(source, in_len=10)

Of a folder only the newest files are opened, by the times in their names. A feed that is followed
is looked at again with `Feed.refresh`: it opens what is new or has changed, and nothing else. A
file that cannot be opened, a half-written one, say, is in `Feed.unreadable` until it changes; one
whose frame cannot be decoded raises `FrameError` where that frame is read. `Feed.state` tells
whether a frame's file has changed meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import LONGEST_STEP_MINUTES, Description
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.index import commonest_gap
from nowcast.precipitation.archive.raw_files import PACK
from nowcast.precipitation.archive.reader import Frame, Pixels, RadarFrames, recent_frames
from nowcast.precipitation.sources.apart.decoder import DECODER, Decoder
from nowcast.precipitation.sources.conversion.cut import Cut
from nowcast.precipitation.sources.conversion.target import Target, check_target
from nowcast.precipitation.sources.conversion.values import (
    accumulation,
    check_alike,
    check_units,
    checked,
)
from nowcast.precipitation.sources.feed.files import listed, newest_files
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.units import Calibration

ZARR_PARTS = ("zarr.json", ".z*", "*/zarr.json", "*/.zarray", "*/.zattrs")
SHOWN = 3  # files named in a note

Stamp = tuple[int, int]  # size in bytes and time of change in ns


@dataclass(frozen=True)
class Reading:
    """How files are to be read, as far as they leave it open.

    Args:
        importer: by name; None: by the content of each file.
        request: what the user says of the files.
        target: what to make of them: Z-R relation, crop, block mean, step.
    """

    importer: str | None = None
    request: Request = field(default_factory=Request)
    target: Target = field(default_factory=Target)


@dataclass(frozen=True)
class _File:
    """A file that was opened: its sources, or why it has none."""

    stamp: Stamp
    sources: tuple[Source, ...] = ()
    fault: str = ""


class Feed(RadarFrames):
    """See the module.

    Args:
        places: files, folders and globs.
        reading: how they are to be read.
        at: the newest time that is wanted, UTC; None: the newest there is.
        decoder: opens them.

    Raises:
        ConfigError: there are no files, a unit or a Z-R relation must be given, or a single frame
            does not tell the step.
        DataError: no file can be read; it names the newest.
    """

    def __init__(
        self,
        places: Sequence[Path],
        reading: Reading | None = None,
        at: np.datetime64 | None = None,
        decoder: Decoder = DECODER,
    ) -> None:
        reading = reading or Reading()
        check_target(reading.request, reading.target)
        self.root = places[0] if len(places) == 1 else places[0].parent
        self._places, self._reading, self._at = places, reading, at
        self._decoder = decoder
        self._files: dict[Path, _File] = {}
        self._where: dict[np.datetime64, list[tuple[Path, Source, int]]] = {}
        self._kept = recent_frames()
        self._off_clock = 0
        self.refresh()
        self._first, self._cut, self._minutes = self._described_by()
        self.description = self._description()
        self.held = (0, self.description.height, 0, self.description.width)
        self._keep_clock()

    def refresh(self) -> Moments:
        """Look at the places again; `moments` is what is there now, and is returned.

        Raises:
            ConfigError: a place is away.
            DataError: none of the files can be read.
        """
        files = newest_files(listed(self._places), self._at)
        held: dict[Path, _File] = {}
        for path in files:
            stamp = _stamp(path)
            if stamp is None:  # gone since
                continue
            before = self._files.get(path)
            held[path] = before if before and before.stamp == stamp else self._opened(path, stamp)
        self._files = held
        self._where = {}
        for path, file in held.items():
            for source in file.sources:
                for position, moment in enumerate(source.times):
                    self._where.setdefault(moment, []).append((path, source, position))
        if not self._where:
            fault = next(iter(reversed(self.unreadable.values())), "there are none")
            raise DataError(
                f"{self.root}: expected radar files, found none that can be read among "
                f"{len(held)}: {fault}"
            )
        self.moments = np.array(sorted(self._where), dtype="datetime64[m]")
        if hasattr(self, "description"):
            self._keep_clock()
        return self.moments

    @property
    def unreadable(self) -> dict[Path, str]:
        """The files that cannot be opened as they are now -> why."""
        return {path: file.fault for path, file in self._files.items() if file.fault}

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What a user must know of the files, a sentence each."""
        found = []
        if self.unreadable:
            shown = [*self.unreadable.values()][-SHOWN:]
            found.append(f"{len(self.unreadable)} files passed over: {'; '.join(shown)}")
        if self._off_clock:
            found.append(
                f"{self._off_clock} frames passed over, off the clock of "
                f"{self.description.step_minutes} minutes that most have"
            )
        if self._minutes is not None and self._minutes != self.description.step_minutes:
            found.append(
                f"rain sums over {self._minutes:g} minutes, {self.description.step_minutes} minutes"
                " apart, taken for the mean rate over them"
            )
        return tuple(found)

    @property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """Raises ConfigError: files have no exclude mask, only what each lacks itself."""
        raise ConfigError(
            f"{self.root}: radar files have no exclude mask, only no data of their own"
        )

    @property
    def has_masks(self) -> bool:
        """Always: what a file has no data of."""
        return True

    def frame(self, moment: np.datetime64) -> Pixels:
        """The pixels in [0, 1] of one time, 0 where there is no data; raises `FrameError`."""
        return self._decoded(moment)[0]

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """Where the frame of one time has data; raises `FrameError`."""
        return self._decoded(moment)[1]

    def state(self, moment: np.datetime64) -> tuple[Stamp, ...]:
        """Size and time of change of the files that hold a time, as they are now; raises
        `FrameError` where one is gone."""
        found = []
        for path, *_ in self._where.get(moment, ()):
            stamp = _stamp(path)
            if stamp is None:
                raise FrameError(f"{path}: it is gone")
            found.append(stamp)
        return tuple(found)

    def _opened(self, path: Path, stamp: Stamp) -> _File:
        reading = self._reading
        try:
            name = reading.importer or self._decoder.recognised(path)
            if name == PACK:
                raise DataError(f"{path}: expected radar files, found a packed archive among them")
            found = self._decoder.sources(name, path, reading.request)
        except DataError as error:
            return _File(stamp, fault=str(error))
        return _File(stamp, tuple(found))

    def _decoded(self, moment: np.datetime64) -> Frame:
        held = self._where.get(moment, [])
        if len(held) != 1:
            both = " and ".join(str(path) for path, *_ in held[:2])
            several = f"{both}: both hold the time {moment}; remove one, or name the files to use"
            raise FrameError(several if held else f"{self.root}: there is no frame of {moment}")
        ((path, source, position),) = held

        def read() -> Frame:
            where = source.where(position)
            try:
                field = source.read(position)
                check_alike(field, self._first, where)
                return self._pixels(field, where)
            except DataError as error:
                raise FrameError(str(error)) from error

        return self._kept.get((moment, self._files[path].stamp), read)

    def _pixels(self, field: Field, where: str) -> Frame:
        target = self._reading.target
        if accumulation(field, where, target) != self._minutes:
            raise DataError(
                f"{where}: expected a sum over {self._minutes:g} minutes as most, found "
                f"{field.accumulation_minutes:g}"
            )
        pixels, mask = self._cut.pixels(checked(field, self._minutes, where, target), field.unit)
        return pixels.astype(np.float32), mask

    def _described_by(self) -> tuple[Field, Cut, float | None]:
        """The newest field that can be read, without its values, which the others are like."""
        fault = ""
        for moment in self.moments[::-1]:
            _, source, position = self._where[moment][0]
            where = source.where(position)
            try:
                field = source.read(position)
            except DataError as error:
                fault = fault or str(error)
                continue
            check_units(field, where, self._reading.target)
            minutes = accumulation(field, where, self._reading.target)
            cut = Cut(where, field.values.shape, self._reading.target)
            return replace(field, values=np.broadcast_to(np.nan, field.values.shape)), cut, minutes
        raise DataError(fault)

    def _description(self) -> Description:
        target, field = self._reading.target, self._first
        calibration = target.calibration or Calibration()
        return Description(
            name=target.name or self.root.stem or "radar",
            credit=target.credit,
            step_minutes=target.step_minutes or self._step(),
            height=self._cut.height,
            width=self._cut.width,
            zr_a=calibration.zr_a,
            zr_b=calibration.zr_b,
            quantity="VIL" if field.unit == "VIL" else "reflectivity",
            grid=self._cut.grid(field.grid),
        )

    def _step(self) -> int:
        """Minutes between frames: the commonest gap, or what a single frame's sum is over."""
        if len(self.moments) > 1:
            step = int(commonest_gap(self.moments) / np.timedelta64(1, "m"))
        else:
            ((_, source, _),) = self._where[self.moments[0]][:1]
            if source.stated_step is None:
                raise ConfigError(
                    f"{source.where(0)}: a single frame does not tell the minutes between frames; "
                    "give more of them"
                )
            step = source.stated_step
        if step > LONGEST_STEP_MINUTES:
            raise ConfigError(
                f"{self.root}: expected frames at most {LONGEST_STEP_MINUTES} minutes apart, found "
                f"{step}; give those of one event"
            )
        return step

    def _keep_clock(self) -> None:
        """Leave out the times that are off the clock of most."""
        rests = self.moments.astype(np.int64) % self.description.step_minutes
        values, counts = np.unique(rests, return_counts=True)
        newest = rests[-1] if rests[-1] in values[counts == counts.max()] else None
        on = rests == (values[counts.argmax()] if newest is None else newest)
        self._off_clock = int((~on).sum())
        self.moments = self.moments[on]


def _stamp(path: Path) -> Stamp | None:
    """Of a file, or of the files that describe a Zarr store's arrays; None where it is gone."""
    try:
        paths = [path]
        if path.is_dir():
            paths = [file for name in ZARR_PARTS for file in path.glob(name)]
        found = [one.stat() for one in paths]
    except OSError:
        return None
    return sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)
