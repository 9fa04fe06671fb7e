"""Who makes a forecast: the best forecaster that can, in the time that is left.

The network may take too long, fail, give no numbers or die of memory; optical flow takes less time
and fewer frames; persistence takes none and one.
"""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nowcast.core.errors import NowcastError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import Inputs
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.service.calendar_clock import Clock
from nowcast.precipitation.forecasting.service.rungs import Elsewhere, Here, Rung
from nowcast.precipitation.settings import PrecipitationSettings

FLOW, PERSISTENCE = "flow", "persistence"
REMEMBERED = 20  # durations of a rung
# What a rung above leaves to the one below it: more than usual, and time to be stopped.
SPARE, SPARE_SECONDS = 2.0, 1.0


class Ladder:
    """Forecasts by the first rung that can. `facts` of a forecast has ``rung``, and
    ``rung_reason``: why none above it made the forecast, None for the first one.

    A rung that cannot be stopped is begun only if its usual time is left, and one that can be is
    given the time that the next one does not need.

    Args:
        rungs: the best first; the last one is always tried, and its failure is the ladder's.
        clock: seconds.
    """

    def __init__(self, rungs: Sequence[Rung], clock: Clock = time.monotonic) -> None:
        self.rungs = rungs
        self._clock = clock
        self._spent: dict[str, deque[float]] = {
            rung.name: deque(maxlen=REMEMBERED) for rung in rungs
        }

    @property
    def in_len(self) -> int:
        """Frames that the first rung takes."""
        return self.rungs[0].forecaster.choice.in_len

    @property
    def least_in_len(self) -> int:
        """The fewest frames that any rung takes."""
        return min(rung.forecaster.choice.least_in_len for rung in self.rungs)

    @property
    def pids(self) -> list[int]:
        """The processes that rungs have of their own."""
        return [rung.pid for rung in self.rungs if rung.pid is not None]

    def load(self) -> None:
        """Load all rungs, and find out how long those take that wait for a better one.

        Raises:
            NowcastError: one cannot be loaded.
        """
        for rung in self.rungs:
            rung.load()
        for rung in self.rungs[1:-1]:
            self._run(rung, _rain(rung.forecaster), 0.0, math.inf)

    def prepare(self) -> None:
        """Get ready for the next forecast, while there is time."""
        for rung in self.rungs:
            rung.prepare()

    def close(self) -> None:
        """End the processes of all rungs."""
        for rung in self.rungs:
            rung.close()

    def forecast(
        self, inputs: Inputs, read_seconds: float = 0.0, until: float = math.inf
    ) -> Forecast:
        """The forecast of the first rung that can.

        Args:
            inputs: at least `least_in_len` frames.
            read_seconds: how long it took to read them, for the facts.
            until: when it has to be there, by the clock.

        Raises:
            Exception: what the last rung raised.
        """
        reasons: list[str] = []
        for position, rung in enumerate(self.rungs):
            below = self.rungs[position + 1 : position + 2]
            spare = SPARE_SECONDS + SPARE * self._usual(below[0]) if rung.can_be_stopped else 0.0
            left = until - self._clock() - spare
            reason = self._obstacle(rung, len(inputs.times), left) if below else None
            if reason is None:
                try:
                    made = self._run(rung, inputs, read_seconds, left)
                except Exception as error:
                    if not below:
                        raise
                    reason = in_words(error)
                else:
                    return _with_rung(made, rung.name, reasons)
            reasons.append(f"{rung.name}: {reason}")
        raise AssertionError("a ladder has a rung")

    def _run(self, rung: Rung, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
        began = self._clock()
        made = rung.forecast(inputs, read_seconds, seconds)
        self._spent[rung.name].append(self._clock() - began)
        return made

    def _usual(self, rung: Rung) -> float:
        """Seconds that it takes, 19 times of 20."""
        spent = self._spent[rung.name]
        return float(np.quantile(spent, 0.95)) if spent else 0.0

    def _obstacle(self, rung: Rung, frames: int, left: float) -> str | None:
        """Why a rung is not tried; None if it is."""
        least = rung.forecaster.choice.least_in_len
        if frames < least:
            return f"{frames} input frame{'s' * (frames > 1)}, of {least} that it needs"
        usual = 0.0 if rung.can_be_stopped else self._usual(rung)
        if left > usual:
            return None
        if usual:
            # So that one slow hour does not rule it out for ever.
            self._spent[rung.name].remove(max(self._spent[rung.name]))
        return f"no time left (it takes {usual:.1f} s)" if usual else "no time left"


def in_words(error: Exception) -> str:
    """An error in a line; one that is not ours with its kind."""
    return str(error) if isinstance(error, NowcastError) else f"{type(error).__name__}: {error}"


def _with_rung(made: Forecast, name: str, reasons: list[str]) -> Forecast:
    reason = "; ".join(reasons) or None
    notes = list(made.facts["notes"])
    if reason is not None:
        notes.append(f"forecast by {name}, since {reason}")
    facts = {**made.facts, "rung": name, "rung_reason": reason, "notes": notes}
    return replace(made, facts=facts)


def _rain(forecaster: Forecaster) -> Inputs:
    """Made-up rain of the size of the archive's, to try a forecaster on."""
    description, count = forecaster.description, forecaster.choice.least_in_len
    size = (count, description.height, description.width)
    levels = np.random.default_rng(0).integers(0, 200, size, dtype=np.uint8)
    step = np.timedelta64(description.step_minutes, "m")
    times = np.datetime64("2000-01-01T00:00", "m") + step * np.arange(count)
    return Inputs(levels, np.ones(size, dtype=bool), times, {}, {}, "none", step)


def ladder_of(
    choice: Choice,
    description: Description,
    lead_minutes: float | None = None,
    *,
    members: int | None = None,
    seed: int = 0,
    clock: Clock = time.monotonic,
) -> Ladder:
    """The forecaster that was asked for, and below it optical flow and persistence, without
    members. All but these two have a process of their own.

    Raises:
        ConfigError: as `Forecaster`.
    """
    name = choice.name if choice.run is None else "network"
    stem = name.partition(":")[0]
    top: Rung
    if stem in (FLOW, PERSISTENCE):
        top = Here(stem, Forecaster(choice, description, lead_minutes, members=members, seed=seed))
    else:
        top = Elsewhere(name, choice, description, lead_minutes, members=members, seed=seed)
    minutes = float(top.forecaster.out_len * description.step_minutes)
    below = {FLOW: (PERSISTENCE,), PERSISTENCE: ()}.get(stem, (FLOW, PERSISTENCE))
    lower = [
        Here(other, Forecaster(Choice(other, PrecipitationSettings()), description, minutes))
        for other in below
    ]
    return Ladder([top, *lower], clock)
