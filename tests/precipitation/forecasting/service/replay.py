"""Days of a feed with everything that goes wrong in months, under a clock that only the test moves.

Time is what a watch waits plus what its work really takes, so that latencies are measured. A replay
runs in this process, or in one that is killed and started again.
"""

import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nowcast.core.errors import RunError
from nowcast.core.execution.apart import Unanswered
from nowcast.core.system.machine import resident_bytes
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import frame_path, write_frame
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import FrameSource, Inputs
from nowcast.precipitation.forecasting.products.outlet import Outlet
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.written import write
from nowcast.precipitation.forecasting.service.alarms.rule import Rule, Watched
from nowcast.precipitation.forecasting.service.alarms.states import Alarms
from nowcast.precipitation.forecasting.service.calendar_clock import CalendarClock
from nowcast.precipitation.forecasting.service.health import Health
from nowcast.precipitation.forecasting.service.ladder import Ladder
from nowcast.precipitation.forecasting.service.rungs import Here
from nowcast.precipitation.forecasting.service.watch import Watch
from nowcast.precipitation.settings import PrecipitationSettings

STEP, SIDE = 5, 64
START = np.datetime64("2020-06-28T00:00", "m")
EVERY, DEADLINE = 30.0, 60.0  # seconds
LAND = 2  # minutes after its time, if nothing is wrong
KINDS = ("late", "missing", "damaged", "half", "duplicate", "future")
FAULTS = ("NaN", "memory", "slow")
HALF_BYTES = 64  # of a file, then the disk is full


@dataclass(frozen=True)
class Plan:
    """What goes wrong when.

    Args:
        frames: how many.
        kinds: number of a frame -> one of `KINDS`.
        faults: number of an init time -> what the network does: one of `FAULTS`.
        jumps: from minute, to minute, minutes that the clock on the wall is wrong.
        full: from minute, to minute: the disk is full.
        away: from minute, to minute: the output folder is away.
        ahead: steps that a frame of the future is dated ahead.
    """

    frames: int
    kinds: dict[int, str]
    faults: dict[int, str]
    jumps: list[tuple[int, int, int]] = field(default_factory=list)
    full: tuple[int, int] = (-1, -1)
    away: tuple[int, int] = (-1, -1)
    ahead: int = 48

    @property
    def minutes(self) -> int:
        """How long it takes."""
        return STEP * self.frames + 2 * STEP

    def whole_at(self, number: int) -> int | None:
        """The minute from which on a frame is there whole; None: never."""
        kind = self.kinds.get(number)
        if kind in ("missing", "damaged"):
            return None
        return STEP * number + LAND + {"late": STEP + 1, "half": 1}.get(kind or "", 0)

    def expected(self, down: list[tuple[int, int]]) -> set[int]:
        """The frames that are forecast from: whole before any newer one, while the service is up
        and can write.

        Args:
            down: minutes from which and to which the service was not there.
        """
        found: set[int] = set()
        newest = -1
        whole = {n: at for n in range(self.frames) if (at := self.whole_at(n)) is not None}
        for number, at in sorted(whole.items(), key=lambda item: (item[1], item[0])):
            if number > newest:
                newest = number
                if not any(start <= at + 1 and at <= end for start, end in self.blocked(down)):
                    found.add(number)
        return found

    def blocked(self, down: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """When nothing can be written."""
        return [*down, self.full, self.away]


def moment(number: int) -> np.datetime64:
    """Valid time of a frame."""
    return START + np.timedelta64(STEP * number, "m")


def rain(number: int) -> np.ndarray:
    """Blobs that move right by a pixel each step."""
    noise = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4, borderType=cv2.BORDER_REFLECT)
    levels = np.clip(400 * smooth + 60, 0, 200).astype(np.uint8)
    return np.roll(levels, number, axis=1)


class Network(Here):
    """In the place of a network: optical flow, with a network's faults."""

    can_be_stopped = True

    def __init__(self, forecaster: Forecaster, plan: Plan, pass_time: Callable[[float], None]):
        super().__init__("network", forecaster)
        self._plan, self._pass = plan, pass_time

    def forecast(self, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
        fault = self._plan.faults.get(int((inputs.init - START) / np.timedelta64(STEP, "m")))
        if fault == "NaN":
            raise RunError("expected a forecast in numbers, found NaN")
        if fault == "memory":
            raise MemoryError
        if fault == "slow":
            self._pass(seconds)
            raise Unanswered(f"took longer than {seconds:.1f} s")
        return super().forecast(inputs, read_seconds, seconds)


class Replay:
    """One run of the service over a part of a plan.

    Args:
        folder: gets ``radar`` and ``out``.
        plan: of the whole.
        begin: the minute in which the service starts.
        tick: is told the minute.
    """

    def __init__(self, folder: Path, plan: Plan, begin: int, tick: Callable[[int], None]):
        self.root, self.out, self.plan, self._tick = folder / "radar", folder / "out", plan, tick
        self.said: list[str] = []
        self.memory: list[tuple[float, int]] = []
        self._waited, self._real = 60.0 * begin, time.perf_counter()
        self._landed = begin - 1
        self._disk = folder / "disk"

    def steady(self) -> float:
        return self._waited + time.perf_counter() - self._real

    def wall(self) -> float:
        seconds = self.steady()
        wrong = sum(by for start, end, by in self.plan.jumps if start <= seconds / 60 < end)
        return float(START.astype("datetime64[s]").astype(int)) + seconds + 60 * wrong

    def pass_time(self, seconds: float) -> None:
        self._waited += seconds

    def wait(self, seconds: float) -> bool:
        self.pass_time(seconds)
        now = int(self.steady() // 60)
        self.land_until(now)
        self._tick(now)
        if now % 180 == 0 and (not self.memory or now / 60 - self.memory[-1][0] > 1):
            self.memory.append((now / 60, resident_bytes([_own()]) or 0))
        return now >= self.plan.minutes

    def land_until(self, minute: int) -> None:
        """Let land what lands up to a minute, and disks fill and go."""
        limit(None)
        for now in range(self._landed + 1, minute + 1):
            for number in range(max(0, now // STEP - 3), now // STEP + 1):
                if number < self.plan.frames:
                    self._land(number, now)
            if now == self.plan.away[0]:
                self._disk.rename(self._disk.with_name("gone"))
            if now == self.plan.away[1]:
                self._disk.with_name("gone").rename(self._disk)
        self._landed = minute
        start, end = self.plan.full
        limit(HALF_BYTES if start <= minute < end else None)

    def _land(self, number: int, now: int) -> None:
        kind, usual = self.plan.kinds.get(number), STEP * number + LAND
        if kind in ("half", "damaged") and now == usual:
            write_frame(self.root, moment(number), rain(number))
            path = frame_path(self.root, moment(number))
            path.write_bytes(path.read_bytes()[:-100])
        if now == self.plan.whole_at(number) or (kind == "duplicate" and now == usual + 2):
            write_frame(self.root, moment(number), rain(number))
        if kind == "future" and now == usual:
            write_frame(self.root, moment(number + self.plan.ahead), rain(number + self.plan.ahead))

    def watch(self) -> Watch:
        calendar = CalendarClock(self.steady, self.wall)
        source = FrameSource(Archive(self.root), "frame")
        choices = [Choice(name, PrecipitationSettings()) for name in ("flow", "persistence")]
        flow, persistence = (Forecaster(choice, source.description, 30.0) for choice in choices)
        network = Network(flow, self.plan, self.pass_time)
        ladder = Ladder(
            [network, Here("flow", flow), Here("persistence", persistence)], self.steady
        )
        say = self.said.append
        health = Health(self.out, self.steady, calendar, say, self.out / "nowcast.prom")
        outlet = Outlet(self.out, partial(write, formats=()), keep=288)
        outlet.sweep()
        rule = Rule("mill", "px:51,30", 0.5, 20.0)
        watched = [Watched.of(rule, source.description, 6)]
        return Watch(
            source, ladder, outlet, say, self.steady, calendar,
            deadline=DEADLINE, health=health, alarms=Alarms(watched, self.out, _nowhere, say),
        )  # fmt: skip

    def run(self) -> Iterator[dict[str, Any]]:
        """What is known of each forecast, once it is written."""
        watch = self.watch()
        for made in watch.forecasts(EVERY, self.wait):
            number = int((made.init - START) / np.timedelta64(STEP, "m"))
            whole = self.plan.whole_at(number)
            assert whole is not None
            yield {
                "number": number,
                "seconds": self.steady() - 60 * whole,  # since the frame landed
                "rung": made.facts["rung"],
                "reason": made.facts["rung_reason"],
            }


def prepare(folder: Path) -> None:
    """An archive without frames, and an output folder on a disk of its own, so to speak."""
    (folder / "radar").mkdir(parents=True)
    described = Description("own", "the tests", STEP, SIDE, SIDE, 200.0, 1.6)
    (folder / "radar" / "archive.json").write_text(described.to_json())
    (folder / "disk").mkdir()
    (folder / "out").symlink_to(folder / "disk")
    write_frame(folder / "radar", moment(-1), rain(-1))


def replay_from(folder: Path, plan: Plan, begin: int, minute: Any) -> None:
    """A run in a process of its own, which may be killed; writes what it knows into files.

    Args:
        folder: as `Replay`.
        plan: of the whole.
        begin: the minute in which it starts.
        minute: shared; holds the minute that it is.
    """

    def tick(now: int) -> None:
        minute.value = now

    replay = Replay(folder, plan, begin, tick)
    with (folder / "made.jsonl").open("a", buffering=1) as lines, unlimited():
        for made in replay.run():
            limit(None)
            lines.write(json.dumps(made) + "\n")
    (folder / "memory.json").write_text(json.dumps(replay.memory))
    (folder / "said.json").write_text(json.dumps(replay.said))


@contextmanager
def unlimited() -> Iterator[None]:
    """Files of any size again, at the end."""
    try:
        yield
    finally:
        limit(None)


def limit(most: int | None) -> None:
    """Let files of this process grow to so many bytes only: a write stops half way, as on a full
    disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if most is None else most, hard))


def _own() -> int:
    return int(Path("/proc/self").resolve().name)


def _nowhere(event: dict[str, Any]) -> None:
    """Alarms are in the file."""
