"""Follows a folder and forecasts whenever a new frame has landed, for as long as it is let."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive.frames import (
    DayFolder,
    FrameError,
    Moments,
    day_folders,
    frame_path,
    list_day,
    mask_path,
)
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.checked import newest
from nowcast.precipitation.forecasting.forecast import Forecaster
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.places import check_there
from nowcast.precipitation.forecasting.products.outlet import Delivery, Outlet, Say
from nowcast.precipitation.forecasting.products.result import Forecast

DAY_MINUTES = 24 * 60

Wait = Callable[[float], bool]


class Watch:
    """Forecasts from the newest frame of a tree, each time `poll` finds that there is one.

    A frame that cannot be read whole, its own mask included, is tried again for one step of time
    and then given up. One that comes later than a newer frame is input of later forecasts, without
    a forecast of its own. Of several that come at once, the newest is forecast from. What is
    missing, late or given up is said once. A forecast that fails, or cannot be written, ends
    nothing (see `Delivery`).

    Args:
        source: of the frames.
        forecaster: whose model is loaded now.
        outlet: takes the forecasts.
        say: tells the user.
        clock: seconds.
    """

    def __init__(
        self,
        source: FrameSource,
        forecaster: Forecaster,
        outlet: Outlet,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._forecaster = forecaster
        self._delivery = Delivery(outlet, say, clock)
        self._say = say
        self._clock = clock
        self._newest: np.datetime64 | None = None
        self._settled: set[np.datetime64] = set()  # read whole or given up
        self._trying: dict[np.datetime64, float] = {}  # since when, by `clock`
        self._strays: set[Path] = set()
        self._unreachable = ""
        window = (forecaster.choice.in_len + 1) * source.description.step_minutes
        self._days = 1 + -(-window // DAY_MINUTES)
        self._told = False  # of inputs that are too few
        self._suspect: Mapping[str, str] = {}
        self._made: np.datetime64 | None = None  # init time of the newest forecast
        forecaster.load()

    def forecasts(self, every: float, wait: Wait) -> Iterator[Forecast]:
        """Poll until told to stop; each forecast has been written.

        Args:
            every: seconds between polls.
            wait: lets so many seconds pass; True tells to stop.
        """
        while True:
            forecast = self.poll()
            if forecast is not None:
                yield forecast
            if wait(every):
                return

    def poll(self) -> Forecast | None:
        """Look once; the forecast, if there is one, has been written."""
        recent = self._listed()
        if recent is None or not len(recent):
            return self._delivery.again()
        self._settled = {moment for moment in self._settled if moment >= recent[0]}
        there = set(recent)
        self._trying = {moment: at for moment, at in self._trying.items() if moment in there}
        fresh = self._first(recent) if self._newest is None else self._since(recent)
        if fresh is None:
            return self._delivery.again()
        if self._newest is not None:
            self._say_gap(self._newest, fresh, recent)
        self._newest = fresh
        return self._forecast(fresh, recent[recent <= fresh])

    def _listed(self) -> Moments | None:
        """The times of the newest days by their files' names; None where the folder is away."""
        try:
            days = _newest_days(self._source.archive.root, self._days)
        except (ConfigError, OSError) as error:
            if str(error) != self._unreachable:
                self._unreachable = str(error)
                self._say(f"{error}; waiting for it")
            return None
        self._unreachable = ""
        strays = {
            stray.path: stray.reason for day in days for stray in day.strays if stray.contradicts
        }
        for path in strays.keys() - self._strays:
            self._say(f"{path}: passed over, {strays[path]}")
        self._strays = set(strays)
        return np.concatenate([day.moments for day in days]) if days else None

    def _first(self, recent: Moments) -> np.datetime64 | None:
        """The newest frame at the start; what is older is not looked at before it is input."""
        for position in range(len(recent) - 1, -1, -1):
            if recent[position] in self._settled:
                continue
            if self._is_whole(recent[position]):
                self._settled.update(recent[: position + 1])
                return np.datetime64(recent[position])
        return None

    def _since(self, recent: Moments) -> np.datetime64 | None:
        """The newest of the frames that have become whole since the last look, if it is newer than
        any before."""
        assert self._newest is not None
        fresh = self._newest
        for moment in recent:
            if moment in self._settled or not self._is_whole(moment):
                continue
            self._settled.add(moment)
            if moment < self._newest:
                self._say(f"{moment}: came late; it is input from now on, without a forecast")
            fresh = max(fresh, moment)
        return fresh if fresh > self._newest else None

    def _is_whole(self, moment: np.datetime64) -> bool:
        """Whether a frame can be used now; what cannot for too long is settled."""
        try:
            before = self._state(moment)
            self._source.read(moment)
            if self._state(moment) != before:
                raise FrameError(f"{self._source.archive.root}: {moment} changes while it is read")
        except (FrameError, OSError) as error:
            now = self._clock()
            since = self._trying.setdefault(moment, now)
            if now - since >= 60 * self._source.description.step_minutes:
                del self._trying[moment]
                self._settled.add(moment)
                self._say(f"{moment}: given up, not whole after a step of time: {error}")
            return False
        self._trying.pop(moment, None)
        return True

    def _state(self, moment: np.datetime64) -> list[tuple[int, int]]:
        """Size and time of change of a frame and of its mask."""
        root = self._source.archive.root
        paths = [frame_path(root, moment)]
        if self._source.own:
            paths.append(mask_path(root, moment))
        found = [path.stat() for path in paths]
        return [(file.st_size, file.st_mtime_ns) for file in found]

    def _say_gap(self, before: np.datetime64, after: np.datetime64, recent: Moments) -> None:
        step = self._source.archive.step
        expected = np.arange(before + step, after, step)
        absent = expected[~np.isin(expected, recent)]
        if len(absent):
            self._say(
                f"gap: {len(absent)} missing between {before} and {after}, from {absent[0]} to "
                f"{absent[-1]}"
            )

    def _forecast(self, init: np.datetime64, moments: Moments) -> Forecast | None:
        began = time.perf_counter()
        try:
            choice = self._forecaster.choice
            inputs = newest(self._source, choice.in_len, moments=moments, least=choice.least_in_len)
        except DataError as error:
            self._say(f"{init}: no forecast: {'still too few frames' if self._told else error}")
            self._told = True
            return None
        self._told = False
        self._say_suspect(inputs.suspect)
        if self._made is not None and inputs.init <= self._made:
            self._say(f"{init}: no forecast: the newest frame to start from is still {self._made}")
            return None
        try:
            forecast = self._forecaster.forecast(inputs, time.perf_counter() - began)
        except ConfigError:  # the next frame would find the same
            raise
        except Exception as error:  # e.g. memory that another process has for a while
            kind = "" if isinstance(error, NowcastError) else f"{type(error).__name__}: "
            self._say(f"{init}: no forecast: {kind}{error}. Going on with the next frame")
            return None
        self._made = inputs.init
        return forecast if self._delivery.take(forecast) else None

    def _say_suspect(self, suspect: Mapping[str, str]) -> None:
        for moment in sorted(suspect.keys() - self._suspect.keys()):
            self._say(f"{moment}: taken for missing ({suspect[moment]})")
        self._suspect = suspect


def _newest_days(root: Path, count: int) -> list[DayFolder]:
    """The newest days that have frames, ascending; no others are listed."""
    found: list[DayFolder] = []
    for folder in reversed(day_folders(root)):
        day = list_day(folder)
        if len(day.moments):
            found.insert(0, day)
        if len(found) == count:
            break
    return found


def opened_when_there(root: Path, every: float, wait: Wait, say: Say) -> Archive | None:
    """The tree at `root`, as soon as it has the frames that tell its step; None if told to stop.

    Raises:
        ConfigError: there is no such folder.
        DataError: as `Archive`.
    """
    if not root.is_dir():
        raise ConfigError(
            f"--watch: expected the folder of an archive to follow, found none at {root}; give the "
            "folder that holds radarPNG/"
        )
    check_there([root], watching=True)
    said = False
    while True:
        try:
            return Archive(root)
        except ConfigError as error:
            check_there([root], watching=True)
            if not said:
                say(f"{error}; waiting for frames")
                said = True
        if wait(every):
            return None
