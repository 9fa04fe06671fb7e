"""The rung that makes a forecast, and why it is that one."""

from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import Inputs
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.service.ladder import Ladder, ladder_of
from nowcast.precipitation.forecasting.service.rungs import Here
from nowcast.precipitation.settings import PrecipitationSettings
from tests.precipitation.forecasting.service.replay import SIDE, STEP, moment, rain
from tests.tiny_runs import write_run

RADAR = Description("own", "the tests", STEP, SIDE, SIDE, 200.0, 1.6)


def inputs(count: int) -> Inputs:
    frames = np.stack([rain(number) for number in range(count)])
    times = np.array([moment(number) for number in range(count)])
    mask = np.ones(frames.shape, dtype=bool)
    return Inputs(frames, mask, times, {}, {}, "none", np.timedelta64(STEP, "m"))


class Clock:
    """Seconds that pass when a rung says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(Here):
    """A rung that takes so many seconds."""

    def __init__(self, name: str, takes: float, clock: Clock):
        choice = Choice("persistence" if name == "persistence" else "flow", PrecipitationSettings())
        super().__init__(name, Forecaster(choice, RADAR, 30.0))
        self.takes, self._clock = takes, clock

    def forecast(self, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
        self._clock.now += self.takes
        return super().forecast(inputs, read_seconds, seconds)


def test_a_rung_is_begun_only_if_its_usual_time_is_left():
    clock = Clock()
    flow = Timed("flow", 8.0, clock)
    first, last = Timed("steps", 1.0, clock), Timed("persistence", 0.0, clock)
    ladder = Ladder([first, flow, last], clock)
    ladder.load()
    ladder.rungs[0].can_be_stopped = True

    def made(seconds: float) -> tuple[str, str | None]:
        facts = ladder.forecast(inputs(10), 0.0, clock.now + seconds).facts
        return facts["rung"], facts["rung_reason"]

    assert made(60.0) == ("steps", None)
    assert made(12.0) == ("flow", "steps: no time left")  # flow needs its own
    assert made(5.0) == ("persistence", "steps: no time left; flow: no time left (it takes 8.0 s)")
    assert made(-5.0)[0] == "persistence"  # too late is no reason for none


def test_one_slow_hour_does_not_rule_a_rung_out_for_ever():
    clock = Clock()
    flow = Timed("flow", 50.0, clock)
    ladder = Ladder([flow, Timed("persistence", 0.0, clock)], clock)
    ladder.forecast(inputs(3))
    flow.takes = 1.0
    made = [ladder.forecast(inputs(3), 0.0, clock.now + 20.0).facts["rung"] for _ in range(2)]
    assert made == ["persistence", "flow"]


def test_the_failure_of_the_last_rung_is_the_ladder_s():
    class Fails(Here):
        def forecast(self, inputs: Inputs, read_seconds: float, seconds: float) -> Forecast:
            raise ConfigError(self.name)

    settings = PrecipitationSettings()
    names = ("flow", "persistence")
    rungs = [Fails(name, Forecaster(Choice(name, settings), RADAR)) for name in names]
    with pytest.raises(ConfigError, match="persistence"):
        Ladder(rungs).forecast(inputs(3))


def test_a_network_forecasts_in_a_process_of_its_own_with_others_below_it(tmp_path: Path):
    choice, _ = write_run(tmp_path / "run")
    ladder = ladder_of(choice, RADAR, 20.0)
    assert [rung.name for rung in ladder.rungs] == ["network", "flow", "persistence"]
    try:
        ladder.load()
        given = inputs(choice.in_len)
        made = ladder.forecast(given)
        assert (made.facts["rung"], made.facts["rung_reason"]) == ("network", None)
        assert np.array_equal(made.pixels, Forecaster(choice, RADAR, 20.0).forecast(given).pixels)
        (pid,) = ladder.pids
        late = ladder.forecast(given, 0.0, 0.0)
        assert (late.facts["rung"], len(late.pixels)) == ("persistence", 4)
        few = ladder.forecast(inputs(choice.least_in_len - 1))
        assert (
            few.facts["rung"] == "flow"
            and f"of {choice.least_in_len} that it needs" in (few.facts["rung_reason"])
        )
        assert few.facts["notes"][-1].startswith("forecast by flow, since network: ")
        assert ladder.pids == [pid]
    finally:
        ladder.close()
    assert ladder.pids == []


def test_which_rungs_there_are():
    settings = PrecipitationSettings()
    for name, rungs in (
        ("persistence", ["persistence"]),
        ("flow:dry", ["flow", "persistence"]),
        ("lagged-flow", ["lagged-flow", "flow", "persistence"]),
    ):
        ladder = ladder_of(Choice(name, settings), RADAR)
        assert [rung.name for rung in ladder.rungs] == rungs
        assert {rung.forecaster.out_len for rung in ladder.rungs} == {settings.data.out_len}
