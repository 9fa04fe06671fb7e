"""A watch on radar files as they come, which a process apart decodes."""

from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.products.outlet import Outlet
from nowcast.precipitation.forecasting.service.calendar_clock import CalendarClock
from nowcast.precipitation.forecasting.service.feed import opened_when_there
from nowcast.precipitation.forecasting.service.ladder import Ladder
from nowcast.precipitation.forecasting.service.rungs import Here
from nowcast.precipitation.forecasting.service.watch import Watch
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.sources.apart.decoder import DECODER
from tests.precipitation.forecasting.service.replay import rain
from tests.radar_files import write_odim

STEP = 5


def land(folder: Path, minute: int, whole: bool = True) -> Path:
    """A file of rain rates at 12:00 and so many minutes."""
    path = folder / f"rate_20200601{1200 + minute}.h5"
    raw = (rain(minute // STEP) // 2).astype(np.uint8)
    time = f"12{minute:02}00"
    write_odim(path, raw, quantity="RATE", gain=0.1, offset=0.0, time=time, minutes=0)
    if not whole:
        path.write_bytes(path.read_bytes()[:-2000])
    return path


def test_radar_files_are_forecast_from_as_they_land(tmp_path: Path):
    folder, said = tmp_path / "in", []
    folder.mkdir()
    first = land(folder, 0, whole=False)

    def wait(seconds: float) -> bool:
        land(folder, 0)
        land(folder, STEP)
        return False

    frames = opened_when_there(folder, 1.0, wait, said.append)
    assert frames is not None and frames.description.step_minutes == STEP
    assert len(said) == 1 and first.name in said[0] and "waiting for frames" in said[0]
    said.clear()

    now = [0.0]
    epoch = float(np.datetime64("2020-06-01T12:07", "s").astype(int))
    calendar = CalendarClock(lambda: now[0], lambda: epoch + now[0])
    source = FrameSource(frames, "frame")
    flow = Forecaster(Choice("flow", PrecipitationSettings()), source.description, 15.0)
    outlet = Outlet(tmp_path / "out", lambda forecast, place: (place.mkdir(), [])[1])
    ladder = Ladder([Here("flow", flow)])
    watch = Watch(source, ladder, outlet, said.append, lambda: now[0], calendar)

    def look() -> str | None:
        now[0] += 60
        made = watch.poll()
        return None if made is None else str(made.init)[11:]

    assert look() == "12:05"
    land(folder, 2 * STEP, whole=False)
    assert look() is None and look() is None
    assert len(said) == 1 and "passed over" in said[0]
    DECODER.close()  # as if a file had broken it
    land(folder, 2 * STEP)
    assert look() == "12:10"
    land(folder, 40)  # of the future
    land(folder, 3 * STEP)
    assert look() == "12:15"
    assert len(said) == 2 and "2020-06-01T12:40" in said[1] and "refused" in said[1]


def test_an_option_that_the_files_need_is_asked_for_at_once(tmp_path: Path):
    for minute in (0, 5):
        write_odim(tmp_path / f"{minute}.h5", np.ones((6, 8), np.uint8), time=f"12{minute:02}00")
    with pytest.raises(ConfigError, match="--zr"):
        opened_when_there(tmp_path, 1.0, lambda _: False, lambda _: None)
