"""A service: a forecast whenever a frame lands in a folder, its health and its alarms."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nowcast.api.forecasters import LoadedForecaster
from nowcast.core.errors import ConfigError
from nowcast.core.system.only_one import only_one
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.outlet import (
    FOLDER_NAME,
    LATEST,
    Outlet,
    Say,
    entries,
)
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.widths import WIDTH
from nowcast.precipitation.forecasting.products.written import Format, write
from nowcast.precipitation.forecasting.service.alarms.rule import Rule, Watched
from nowcast.precipitation.forecasting.service.alarms.sending import Sender, Target
from nowcast.precipitation.forecasting.service.alarms.states import ALARMS, Alarms
from nowcast.precipitation.forecasting.service.calendar_clock import CalendarClock
from nowcast.precipitation.forecasting.service.feed import Wait, check_folder, opened_when_there
from nowcast.precipitation.forecasting.service.health import HEALTH, Health
from nowcast.precipitation.forecasting.service.ladder import ladder_of
from nowcast.precipitation.forecasting.service.watch import Watch
from nowcast.precipitation.sources.feed.reader import Reading


@dataclass(frozen=True)
class Service:
    """What a service does.

    Args:
        feed: folder of an archive, or of radar files, where frames land.
        out: gets a folder for each forecast, ``latest.json``, ``health.json``, ``alarms.jsonl``.
        weights: makes the forecasts; see `Ladder` for what else does.
        formats: of the forecasts.
        lead_minutes: how far ahead; None: as far as trained, 10 steps for a baseline.
        every_seconds: between looks into the feed.
        deadline_seconds: from a frame's arrival to its forecast; None: a step of the archive.
        keep: how many forecasts stay; None: all.
        members: of an ensemble; None: one forecast.
        seed: of what is random in them.
        probabilities: what to make of them.
        metrics: gets ``health.json`` in Prometheus' text format.
        rules: the alarms.
        targets: name -> what takes an alarm.
        reading: how radar files are to be read, where they leave it open.
        size: width of pictures, pixels.
    """

    feed: Path
    out: Path
    weights: LoadedForecaster
    formats: tuple[Format, ...]
    lead_minutes: float | None = None
    every_seconds: float = 10.0
    deadline_seconds: float | None = None
    keep: int | None = None
    members: int | None = None
    seed: int = 0
    probabilities: ProbabilityRequest | None = None
    metrics: Path | None = None
    rules: Sequence[Rule] = ()
    targets: Sequence[tuple[str, Target]] = ()
    reading: Reading | None = None
    size: int = WIDTH

    def forecasts(self, wait: Wait, say: Say, ready: Callable[[str], None]) -> Iterator[Forecast]:
        """Each forecast, once it is written, until told to stop.

        Args:
            wait: lets so many seconds pass; True tells to stop.
            say: tells the user.
            ready: is told what is followed, once there are frames.

        Raises:
            ConfigError: an option cannot be, there is no such folder, or another process writes to
                `out`.
        """
        calendar = CalendarClock(time.monotonic, time.time)
        health = Health(self.out, time.monotonic, calendar, say, self.metrics)
        outlet = Outlet(
            self.out,
            partial(write, formats=self.formats, request=self.probabilities, width=self.size),
            self.keep,
        )
        choice = self.weights.choice

        def wait_for_frames(seconds: float) -> bool:
            health.write()
            return wait(seconds)

        check_folder(self.feed)
        entries(self.out)  # a file in its place
        with only_one(self.out, "--out"):
            self._check_out()
            archive = opened_when_there(
                self.feed, self.every_seconds, wait_for_frames, say, self.reading
            )
            if archive is None:
                return
            source = FrameSource(archive, choice.masks)
            description = source.description
            ladder = ladder_of(
                choice, description, self.lead_minutes, members=self.members, seed=self.seed
            )
            top = ladder.rungs[0].forecaster
            if self.probabilities is not None:
                self.probabilities.of(description, top.out_len)  # told before it rains
            watched = [Watched.of(rule, description, top.out_len) for rule in self.rules]
            outlet.sweep()
            deadline = self.deadline_seconds or 60.0 * description.step_minutes
            with closing(Sender(self.targets, say)) as sender, closing(ladder):
                alarms = Alarms(watched, self.out, sender.send, say)
                watch = Watch(
                    source,
                    ladder,
                    outlet,
                    say,
                    calendar=calendar,
                    deadline=deadline,
                    health=health,
                    alarms=alarms,
                )
                for note in (*source.notes, *top.notes):
                    say(note)
                ready(f"following {archive.root}, a look every {self.every_seconds:g} s")
                yield from watch.forecasts(self.every_seconds, wait)

    def _check_out(self) -> None:
        """Raise ConfigError if a folder holds other files than a service writes."""
        own = {LATEST, HEALTH, ALARMS}
        if self.metrics is not None and self.metrics.absolute().parent == self.out.absolute():
            own.add(self.metrics.name)
        foreign = [
            name
            for name in entries(self.out)
            if name not in own and FOLDER_NAME.fullmatch(name) is None
        ]
        if foreign:
            raise ConfigError(
                "--out: expected a new folder, an empty one or one of forecasts of --watch; "
                f"{self.out} holds something else ({', '.join(foreign[:3])}); choose another"
            )
