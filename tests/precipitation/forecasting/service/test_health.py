"""What a service says of itself, what time it thinks it is, and which frames it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nowcast.core.errors import ConfigError
from nowcast.core.system.only_one import only_one
from nowcast.precipitation.forecasting.products.outlet import PREFIX, Outlet
from nowcast.precipitation.forecasting.service.calendar_clock import CalendarClock
from nowcast.precipitation.forecasting.service.future import Future
from nowcast.precipitation.forecasting.service.health import Health, gaps
from tests.made_forecasts import made

NOON = np.datetime64("2020-06-30T12:00", "m")


class Time:
    """Steady seconds, and what the clock on the wall adds to them."""

    steady = 1000.0
    wrong = 0.0

    def calendar(self) -> CalendarClock:
        epoch = float(NOON.astype("datetime64[s]").astype(int))
        return CalendarClock(lambda: self.steady, lambda: epoch + self.steady + self.wrong)


def at(minutes: float) -> np.datetime64:
    return NOON + np.timedelta64(int(60 * minutes), "s")


def test_health_is_written_whole_and_for_prometheus(tmp_path: Path):
    time, said = Time(), []
    health = Health(
        tmp_path, lambda: time.steady, time.calendar(), said.append, tmp_path / "nowcast.prom"
    )
    health.write()
    told = json.loads((tmp_path / "health.json").read_text())
    assert (told["state"], told["last_forecast"], told["gaps"]) == ("waiting", None, [])
    assert told["now"] == f"{at(1000 / 60)}Z" and told["latency_seconds"]["p50"] is None
    health.step_minutes = 5
    moments = at(0) + np.timedelta64(5, "m") * np.array([0, 1, 4, 5])
    for moment in moments.astype("datetime64[m]"):
        health.frame(moment, moments.astype("datetime64[m]"))
    for seconds in range(1, 101):
        health.written(made(init="2020-06-30T12:25"), float(seconds))
    health.write()
    told = json.loads((tmp_path / "health.json").read_text())
    assert told["latency_seconds"] == {"p50": 50.5, "p95": 95.05, "p99": 99.01}
    assert (told["state"], told["frames"], told["forecasts"]) == ("ok", 4, 100)
    assert told["last_frame"] == told["last_forecast"] == "2020-06-30T12:25Z"
    assert told["gaps"] == [{"from": "2020-06-30T12:10Z", "to": "2020-06-30T12:15Z", "frames": 2}]
    assert told["disk_free_bytes"] > 0

    text = (tmp_path / "nowcast.prom").read_text()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["nowcast_state", "ok"] == 1 and found["nowcast_state", "late"] == 0
    assert found["nowcast_latency_seconds", "0.99"] == 99.01
    assert found[("nowcast_missing_frames",)] == 2 and found[("nowcast_frames_total",)] == 4
    seconds = at(25).astype("datetime64[s]").astype(int)
    assert found[("nowcast_last_forecast_timestamp_seconds",)] == seconds

    time.steady += 601
    assert health.document()["state"] == "late"
    health.written(made(init="2020-06-30T11:25"), 1.0)  # new, of frames of an hour ago
    assert health.document()["state"] == "late"
    health.written(made(init="2020-06-30T12:35"), 1.0)
    assert health.document()["state"] == "ok"
    time.steady += 24 * 3600 + 1
    assert health.document()["latency_seconds"]["p99"] is None
    assert said == []


def test_health_that_cannot_be_written_is_said_once(tmp_path: Path):
    time, said = Time(), []
    (tmp_path / "out").write_text("in the way")
    health = Health(tmp_path / "out", lambda: time.steady, time.calendar(), said.append)
    health.write()
    health.write()
    assert len(said) == 1 and said[0].startswith("health.json: ")


def test_gaps_are_between_frames():
    moments = NOON + np.timedelta64(10, "m") * np.array([0, 1, 3, 4])
    assert [gap["frames"] for gap in gaps(moments, 10)] == [1]
    assert gaps(moments[:2], 10) == gaps(moments[:0], 10) == []


def test_a_clock_that_jumps_is_believed_forwards_at_once_and_backwards_in_half_a_day():
    time = Time()
    calendar = time.calendar()

    def span() -> tuple[float, float]:
        now = NOON + np.timedelta64(int(time.steady), "s")
        return tuple((one - now) / np.timedelta64(1, "h") for one in calendar.between())

    for _ in range(60):
        time.steady += 60
        assert span() == (0, 0)
    for wrong in (-2, 3):
        time.wrong = wrong * 3600
        for _ in range(30):
            time.steady += 60
            assert span() == (min(0, wrong), max(0, wrong))
        time.wrong = 0
        assert span() == (0, 0)
    time.wrong = -2 * 3600
    for _ in range(13 * 60):
        time.steady += 60
        calendar.between()
    assert span() == (-2, -2)


def test_a_frame_of_the_future_is_refused_until_its_time():
    said: list[str] = []
    written = [0]
    future = Future(np.timedelta64(5, "m"), lambda moment: ((100, written[0]),), said.append)
    moments = NOON + np.timedelta64(5, "m") * np.array([0, 1, 2])

    def usable(minute: float) -> list[int]:
        past = future.are_past(moments, (at(minute), at(minute)))
        others = future.settle(moments[~past], (at(minute), at(minute)), bool(past.any()))
        found = np.concatenate([moments[past], others])
        return [int(each) for each in (found - NOON) / np.timedelta64(5, "m")]

    assert usable(1) == usable(5) == [0, 1]  # a step ahead is no future, but once refused it is
    assert usable(10) == [0, 1, 2] and usable(1) == [0, 1]
    written[0] += 1  # the frame of that time, at last
    assert usable(5) == [0, 1, 2]
    assert len(said) == 2 and "2020-06-30T12:10" in said[0] and "refused" in said[0]
    assert usable(-60) == [0, 1, 2]  # of 11 o'clock: no frame would be left
    assert len(said) == 3 and "the clock is taken to be wrong" in said[2]


def test_a_killed_process_leaves_nothing_half_written(tmp_path: Path):
    half = tmp_path / f"{PREFIX}x"
    (half / "20200630T1200").mkdir(parents=True)
    (tmp_path / ".health.json.1.2.tmp").write_text("{")
    (tmp_path / ".mine").write_text("mine")
    Outlet(tmp_path, lambda forecast, folder: []).sweep()
    assert [path.name for path in tmp_path.iterdir()] == [".mine"]


def test_a_forecast_takes_the_place_of_one_that_is_there(tmp_path: Path):
    def write(forecast, folder):
        folder.mkdir()
        (folder / "a.txt").write_text(forecast.model)
        return [folder / "a.txt"]

    before = tmp_path / "20260701T2350"
    before.mkdir()
    (before / "old.txt").write_text("of a killed process")
    Outlet(tmp_path, write).put(made())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260701T2350", "latest.json"]
    assert [path.name for path in before.iterdir()] == ["a.txt"]
    latest = json.loads((tmp_path / "latest.json").read_text())
    assert latest["files"] == ["20260701T2350/a.txt"]


def test_one_process_at_a_time_writes_to_a_folder(tmp_path: Path):
    with (
        only_one(tmp_path / "out", "--out"),
        pytest.raises(ConfigError, match="--out: another process writes to"),
        only_one(tmp_path / "out", "--out"),
    ):
        pass
    with only_one(tmp_path / "out", "--out"):
        pass
