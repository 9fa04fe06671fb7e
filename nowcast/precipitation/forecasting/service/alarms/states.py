"""Which alarms are on: one event when a forecast crosses, and one when it is over."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.precipitation.forecasting.products.outlet import Say
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.service.alarms.rule import Watched

ALARMS = "alarms.jsonl"
RELEASE = 0.8  # of threshold and probability: below both of these an alarm is over
MOST_WAITING = 1000  # events for a file that cannot be written

Event = dict[str, Any]


class Alarms:
    """Looks at each forecast and writes a line of JSON into ``alarms.jsonl`` for each alarm that it
    raises or clears; the same goes to `send`.

    An alarm is raised when the rain rate reaches the threshold, with members in at least the share
    of them that is asked for, and cleared when four fifths of either are no longer reached: a
    forecast that wavers around the threshold raises one. Alarms that were on when the service was
    killed are on when it starts again.

    Args:
        watched: the alarms.
        folder: gets ``alarms.jsonl``.
        send: takes each event on, without waiting for it.
        say: tells the user, once, that the file cannot be written.
    """

    def __init__(
        self, watched: Sequence[Watched], folder: Path, send: Callable[[Event], None], say: Say
    ) -> None:
        self._watched = watched
        self._path = folder / ALARMS
        self._send = send
        self._say = say
        self._waiting: list[Event] = []
        self._failing = False
        self._on = _still_on(self._path)

    def check(self, forecast: Forecast) -> None:
        """Raise and clear what a forecast says."""
        for watched in self._watched:
            rates = watched.rates(forecast)
            if rates is None:
                continue
            rule = watched.rule
            was_on = rule.name in self._on
            part = RELEASE if was_on else 1.0
            share = float((rates >= part * rule.threshold_mm_h).mean())
            is_on = share >= part * rule.probability
            if is_on != was_on:
                (self._on.add if is_on else self._on.remove)(rule.name)
                event = _event("raised" if is_on else "cleared", watched, forecast, rates)
                self._send(event)
                self._waiting = [*self._waiting, event][-MOST_WAITING:]
        self.write()

    def write(self) -> None:
        """Append what has not been written yet, or say once that this fails."""
        if not self._waiting:
            return
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self._waiting)
        try:
            _append(self._path, lines.encode())
        except OSError as error:
            if not self._failing:
                self._say(f"{ALARMS}: {error}. Going on; what is missing is written when it can be")
            self._failing = True
            return
        self._waiting, self._failing = [], False


def _event(kind: str, watched: Watched, forecast: Forecast, rates: np.ndarray) -> Event:
    rule = watched.rule
    members = forecast.members
    share = float((rates >= rule.threshold_mm_h).mean())
    return {
        "event": kind,
        "name": rule.name,
        "init": f"{forecast.init}Z",
        "place": rule.place,
        "row": watched.point.row,
        "column": watched.point.column,
        "threshold_mm_h": rule.threshold_mm_h,
        "within_minutes": rule.within_minutes,
        "rate_mm_h": round(float(np.median(rates)), 2),
        "probability": None if members is None else round(share, 3),
        "members": None if members is None else len(members.pixels),
        "rung": forecast.facts.get("rung"),
    }


def _still_on(path: Path) -> set[str]:
    """The alarms whose last event raised them."""
    found: set[str] = set()
    if not path.is_file():
        return found
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # a line cut off by a full disk
                event = json.loads(line)
                (found.add if event["event"] == "raised" else found.discard)(event["name"])
    return found


def _append(path: Path, lines: bytes) -> None:
    """All lines or none, behind the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, 2)
        if end and (file.seek(end - 1), file.read(1))[1] != b"\n":  # a line that was cut off
            lines = b"\n" + lines
        try:
            written = file.write(lines)
            if written != len(lines):
                raise OSError(f"{path}: only {written} of {len(lines)} bytes were written")
        except OSError:
            file.truncate(end)
            raise
