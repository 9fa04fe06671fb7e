"""How a service is doing: ``health.json``, and the same for Prometheus."""

import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import NowcastError
from nowcast.core.storage.files import write_json, write_text
from nowcast.core.system.machine import resident_bytes
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.forecasting.products.outlet import Say
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.service.calendar_clock import CalendarClock, Clock
from nowcast.precipitation.forecasting.service.metrics import metrics_text

HEALTH = "health.json"
DAY_SECONDS = 24 * 3600.0
LATE_STEPS = 2  # without a forecast
OLD_MINUTES, OLD_STEPS = 30, 3  # behind the clock, whichever is longer


class Health:
    """What is known of a service now; `write` puts it where others read it.

    Args:
        folder: gets ``health.json``.
        clock: seconds that never jump.
        calendar: tells the time.
        say: tells the user, once, that it cannot be written.
        metrics: gets the same in Prometheus' text format; None: no such file.
        pids: processes whose memory counts beside this one's.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        calendar: CalendarClock,
        say: Say,
        metrics: Path | None = None,
        pids: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self.step_minutes: int | None = None
        self.pids = pids
        self._folder = folder
        self._clock = clock
        self._calendar = calendar
        self._say = say
        self._metrics = metrics
        self._frames = 0
        self._last_frame: np.datetime64 | None = None
        self._gaps: list[dict[str, Any]] = []
        self._forecasts = 0
        # Init time, rung and reason of the last forecast; its fields are not kept.
        self._last: tuple[np.datetime64 | None, str | None, str | None] = (None, None, None)
        self._made_at: np.datetime64 | None = None
        self._made_clock = -math.inf
        self._latencies: deque[tuple[float, float]] = deque()  # when, seconds
        self._failing = False

    def frame(self, moment: np.datetime64, recent: Moments) -> None:
        """A frame has arrived whole.

        Args:
            moment: its time.
            recent: the times of the frames of at least a day, ascending.
        """
        self._frames += 1
        if self._last_frame is None or moment > self._last_frame:
            self._last_frame = moment
        if self.step_minutes is not None:
            self._gaps = gaps(recent[recent > moment - np.timedelta64(1, "D")], self.step_minutes)

    def written(self, forecast: Forecast, seconds: float) -> None:
        """A forecast has been written, so many seconds after its newest frame arrived."""
        now = self._clock()
        self._forecasts += 1
        self._last = (forecast.init, forecast.facts.get("rung"), forecast.facts.get("rung_reason"))
        self._made_at, self._made_clock = self._calendar.now(), now
        self._latencies.append((now, seconds))

    def document(self) -> dict[str, Any]:
        """What ``health.json`` holds."""
        now = self._clock()
        while self._latencies and now - self._latencies[0][0] > DAY_SECONDS:
            self._latencies.popleft()
        spent = [seconds for _, seconds in self._latencies]
        init, rung, reason = self._last
        return {
            "now": _iso(self._calendar.now()),
            "state": self._state(now),
            "step_minutes": self.step_minutes,
            "last_frame": _iso(self._last_frame),
            "last_forecast": _iso(init),
            "made_at": _iso(self._made_at),
            "rung": rung,
            "rung_reason": reason,
            "latency_seconds": {
                f"p{percent}": round(float(np.percentile(spent, percent)), 3) if spent else None
                for percent in (50, 95, 99)
            },
            "frames": self._frames,
            "forecasts": self._forecasts,
            "gaps": self._gaps,
            "resident_bytes": resident_bytes([os.getpid(), *self.pids()]),
            "disk_free_bytes": _free(self._folder),
        }

    def write(self) -> None:
        """Write all files whole, or say once that this fails."""
        told = self.document()
        try:
            write_json(self._folder / HEALTH, told)
            if self._metrics is not None:
                write_text(self._metrics, metrics_text(told))
        except (NowcastError, OSError) as error:
            if not self._failing:
                self._say(f"{HEALTH}: {error}. Going on")
            self._failing = True
            return
        self._failing = False

    def _state(self, now: float) -> str:
        if self._made_at is None or self.step_minutes is None:
            return "waiting"
        if now - self._made_clock > LATE_STEPS * 60 * self.step_minutes:
            return "late"
        init, earliest = self._last[0], self._calendar.between()[0]
        old = np.timedelta64(max(OLD_MINUTES, OLD_STEPS * self.step_minutes), "m")
        return "late" if init is not None and earliest - init > old else "ok"


def gaps(moments: Moments, step_minutes: int) -> list[dict[str, Any]]:
    """Where frames are missing between others.

    Args:
        moments: of the frames, ascending.
        step_minutes: between two of them.

    Returns:
        for each gap the times of its first and its last missing frame, and how many these are.
    """
    step = np.timedelta64(step_minutes, "m")
    found = []
    for earlier, later in pairwise(moments):
        missing = round((later - earlier) / step) - 1
        if missing > 0:
            ends = {"from": _iso(earlier + step), "to": _iso(later - step)}
            found.append({**ends, "frames": missing})
    return found


def _iso(moment: np.datetime64 | None) -> str | None:
    return None if moment is None else f"{moment}Z"


def _free(folder: Path) -> int | None:
    """Bytes free on the disk of a folder that may be away; None where nobody tells."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        return shutil.disk_usage(there).free
    except (OSError, StopIteration):
        return None
