"""Follows a folder and forecasts whenever a new frame has landed, for as long as it is let."""

import math
import time
from collections.abc import Iterator, Mapping

import numpy as np

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.forecasting.checked import newest
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.products.outlet import Delivery, Outlet, Say
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.service.alarms.states import Alarms
from nowcast.precipitation.forecasting.service.calendar_clock import CalendarClock, Clock
from nowcast.precipitation.forecasting.service.feed import Wait, listing_of
from nowcast.precipitation.forecasting.service.health import Health
from nowcast.precipitation.forecasting.service.ladder import Ladder, in_words

DAY_MINUTES = 24 * 60


class Watch:
    """Forecasts from the newest frame of a tree, or of radar files, each time `poll` finds one.

    A frame that cannot be read whole, its own mask included, is tried again for one step of time
    and then given up. One that comes later than a newer frame is input of later forecasts, without
    a forecast of its own. Of several that come at once, the newest is forecast from. A frame of the
    future is refused (`Future`). What is missing, late or given up is said once. A forecast that
    fails, or cannot be written, ends nothing (see `Ladder`, `Delivery`).

    Args:
        source: of the frames.
        ladder: whose rungs are loaded now.
        outlet: takes the forecasts.
        say: tells the user.
        clock: seconds that never jump.
        calendar: tells the time; None: this machine's clock.
        deadline: seconds from the arrival of a frame to its forecast, which lower rungs keep where
            the first would not. A frame arrives after the last look that did not find it whole.
        health: is told of frames and forecasts, and written at every look.
        alarms: look at each forecast, whether or not it can be written.
    """

    def __init__(
        self,
        source: FrameSource,
        ladder: Ladder,
        outlet: Outlet,
        say: Say,
        clock: Clock = time.monotonic,
        calendar: CalendarClock | None = None,
        *,
        deadline: float = math.inf,
        health: Health | None = None,
        alarms: Alarms | None = None,
    ) -> None:
        self._source = source
        self._ladder = ladder
        self._delivery = Delivery(outlet, say, clock)
        self._say = say
        self._clock = clock
        self._calendar = calendar or CalendarClock(clock, time.time)
        self._deadline = deadline
        self._health = health
        self._alarms = alarms
        self._newest: np.datetime64 | None = None
        self._settled: set[np.datetime64] = set()  # read whole or given up
        self._trying: dict[np.datetime64, float] = {}  # since when, by `clock`
        self._unreachable = ""
        self._looked: float | None = None  # when the last look began
        self._arrived = clock()  # of the newest frame, at the earliest
        window = (ladder.in_len + 1) * source.description.step_minutes
        self._listing = listing_of(source, 1 + -(-window // DAY_MINUTES), say)
        self._told = False  # of inputs that are too few
        self._suspect: Mapping[str, str] = {}
        self._made: np.datetime64 | None = None  # init time of the newest forecast
        self._rung = ladder.rungs[0].name
        if health is not None:
            health.step_minutes = source.description.step_minutes
            health.pids = lambda: ladder.pids
        ladder.load()

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
        began = self._clock()
        forecast = self._look(began)
        if forecast is not None and self._health is not None:
            self._health.written(forecast, self._clock() - self._arrived)
        self._looked = began
        self._ladder.prepare()
        if self._alarms is not None:
            self._alarms.write()
        if self._health is not None:
            self._health.write()
        return forecast

    def _look(self, began: float) -> Forecast | None:
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
        # It was not there at the look before.
        self._arrived = began if self._looked is None else self._looked
        return self._forecast(fresh, recent[recent <= fresh])

    def _listed(self) -> Moments | None:
        """The times of the newest days by their files' names; None where the folder is away."""
        try:
            recent = self._listing.times(self._calendar.between())
        except (NowcastError, OSError) as error:
            if str(error) != self._unreachable:
                self._unreachable = str(error)
                self._say(f"{error}; waiting for it")
            return None
        self._unreachable = ""
        if self._newest is not None and len(recent) and self._newest > recent[-1]:
            self._forget(recent[-1])
        return recent

    def _forget(self, newest: np.datetime64) -> None:
        """The newest frame is gone, or was dated by a clock that has been put back: what comes now
        is not late."""
        self._newest = newest
        if self._made is not None and self._made > newest:
            self._made = None

    def _first(self, recent: Moments) -> np.datetime64 | None:
        """The newest frame at the start; what is older is not looked at before it is input."""
        for position in range(len(recent) - 1, -1, -1):
            if recent[position] in self._settled:
                continue
            if self._is_whole(recent[position]):
                self._settled.update(recent[: position + 1])
                self._arrive(recent[position], recent)
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
            self._arrive(moment, recent)
            if moment < self._newest:
                self._say(f"{moment}: came late; it is input from now on, without a forecast")
            fresh = max(fresh, moment)
        return fresh if fresh > self._newest else None

    def _arrive(self, moment: np.datetime64, recent: Moments) -> None:
        if self._health is not None:
            self._health.frame(moment, recent)

    def _is_whole(self, moment: np.datetime64) -> bool:
        """Whether a frame can be used now; what cannot for too long is settled."""
        try:
            before = self._listing.state(moment)
            self._source.read(moment)
            if self._listing.state(moment) != before:
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
        began = self._clock()
        ladder = self._ladder
        try:
            inputs = newest(self._source, ladder.in_len, moments=moments, least=ladder.least_in_len)
        except DataError as error:
            self._say(f"{init}: no forecast: {'still too few frames' if self._told else error}")
            self._told = True
            return None
        self._told = False
        self._say_suspect(inputs.suspect)
        if self._made is not None and inputs.init <= self._made:
            self._say(f"{init}: no forecast: the newest frame to start from is still {self._made}")
            return None
        until = self._arrived + self._deadline - self._delivery.usual_seconds
        try:
            forecast = ladder.forecast(inputs, self._clock() - began, until)
        except ConfigError:  # the next frame would find the same
            raise
        except Exception as error:  # e.g. memory that another process has for a while
            self._say(f"{init}: no forecast: {in_words(error)}. Going on with the next frame")
            return None
        self._made = inputs.init
        self._say_rung(forecast)
        if self._alarms is not None:
            self._alarms.check(forecast)
        return forecast if self._delivery.take(forecast) else None

    def _say_rung(self, forecast: Forecast) -> None:
        rung, reason = forecast.facts["rung"], forecast.facts["rung_reason"]
        if rung != self._rung:
            why = "again" if reason is None else f"since {reason}"
            self._say(f"{forecast.init}: forecast by {rung} {why}")
        self._rung = rung

    def _say_suspect(self, suspect: Mapping[str, str]) -> None:
        for moment in sorted(suspect.keys() - self._suspect.keys()):
            self._say(f"{moment}: taken for missing ({suspect[moment]})")
        self._suspect = suspect
