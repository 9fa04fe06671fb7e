"""A folder that is followed: every newest frame is forecast from once, whatever else lands."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError, RunError
from nowcast.core.storage.files import write_json
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import frame_path, write_frame, write_mask
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.outlet import PREFIX, Outlet, Write
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.written import write as write_files
from nowcast.precipitation.forecasting.service.feed import opened_when_there
from nowcast.precipitation.forecasting.service.ladder import Ladder
from nowcast.precipitation.forecasting.service.rungs import Here
from nowcast.precipitation.forecasting.service.watch import Watch
from nowcast.precipitation.settings import PrecipitationSettings
from tests.tiny_runs import write_run

STEP = 5  # minutes
START = np.datetime64("2020-06-30T20:00", "m")
FLOW = Choice("flow", PrecipitationSettings())
Land = Callable[[], object]
GREW_MB = 4  # what is noise between two looks at a process


def moment(number: int) -> np.datetime64:
    return START + np.timedelta64(STEP * number, "m")


def rain(number: int) -> np.ndarray:
    """Blobs that move right by a pixel each step."""
    noise = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4, borderType=cv2.BORDER_REFLECT)
    levels = np.clip(400 * smooth + 60, 0, 200).astype(np.uint8)
    return np.roll(levels, number, axis=1)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Feed:
    """Time that passes only while a watch waits, and files that land meanwhile.

    Args:
        root: of the archive.
        landing: minutes since the start -> what happens then.
        until: minutes after which the watch is told to stop.
    """

    def __init__(self, root: Path, landing: dict[int, list[Land]], until: int):
        self.root, self.landing, self.until = root, landing, until
        self.seconds = 0.0
        self.memory: dict[int, float] = {}

    def clock(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> bool:
        before, self.seconds = int(self.seconds // 60), self.seconds + seconds
        now = int(self.seconds // 60)
        for minute in range(before + 1, now + 1):
            for land in self.landing.get(minute, ()):
                land()
            if minute % (12 * 60) == 0 and Path("/proc/self/statm").is_file():
                self.memory[minute // 60] = resident_mb()
        return now >= self.until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "radar"
    folder.mkdir()
    described = Description("own", "the tests", STEP, 64, 64, 200.0, 1.6)
    (folder / "archive.json").write_text(described.to_json())
    return folder


def write(forecast: Forecast, folder: Path) -> list[Path]:
    write_json(folder / "forecast.json", {"init": str(forecast.init)})
    return [folder / "forecast.json"]


def watching(
    root: Path,
    out: Path,
    feed: Feed,
    choice: Choice = FLOW,
    keep: int | None = None,
    kind: type[Forecaster] | None = None,
    writing: Write | None = None,
) -> tuple[Watch, list[str]]:
    said: list[str] = []
    source = FrameSource(Archive(root), "frame")
    forecaster = (kind or Forecaster)(choice, source.description)
    outlet = Outlet(out, writing or write, keep)
    ladder = Ladder([Here(choice.name, forecaster)], feed.clock)
    return Watch(source, ladder, outlet, said.append, feed.clock), said


def test_a_day_of_frames_with_a_gap_a_half_written_a_damaged_and_a_late_one(
    root: Path, tmp_path: Path
):
    single, gap, slow, damaged, late = 60, (100, 101, 102), 150, 200, 230
    landing: dict[int, list[Land]] = {}

    def at(minute: int, land: Land) -> None:
        landing.setdefault(minute, []).append(land)

    def whole(number: int) -> Land:
        return lambda: write_frame(root, moment(number), rain(number))

    def half(number: int) -> Land:
        def land() -> None:
            whole(number)()
            path = frame_path(root, moment(number))
            path.write_bytes(path.read_bytes()[:-100])

        return land

    for number in range(1, 288):
        if number in (slow, damaged):
            at(STEP * number + 1, half(number))
        elif number not in (single, *gap, late):
            at(STEP * number + 1, whole(number))
    at(STEP * slow + 3, whole(slow))
    at(STEP * late + STEP + 3, whole(late))
    whole(0)()

    feed = Feed(root, landing, 24 * 60 + STEP)
    watch, said = watching(root, tmp_path / "out", feed)
    inits, carried, when = [], {}, {}
    for forecast in watch.forecasts(60.0, feed.wait):
        number = int((forecast.init - START) / np.timedelta64(STEP, "m"))
        inits.append(number)
        carried[number] = list(forecast.facts["carried"])
        when[number] = feed.seconds / 60
        assert json.loads((tmp_path / "out" / "latest.json").read_text()) == {
            "init": str(forecast.init),
            "folder": str(forecast.init).replace("-", "").replace(":", ""),
            "model": "flow",
            "files": [f"{str(forecast.init).replace('-', '').replace(':', '')}/forecast.json"],
        }

    # Two frames that show a motion are needed: from frame 1 on, and again from 104 on.
    none = {single, *gap, gap[-1] + 1, damaged, late}
    assert inits == [number for number in range(1, 288) if number not in none]
    assert len(list((tmp_path / "out").glob("*T*/forecast.json"))) == len(inits)
    assert when[slow] == STEP * slow + 3  # once it was whole, and every other at the next look
    assert {when[number] - STEP * number for number in inits if number != slow} == {1}
    assert carried[single + 5] == [str(moment(single))]
    assert carried[damaged + 1] == carried[damaged + 9] == [str(moment(damaged))]
    assert carried[late + 1] == [str(moment(late))]  # not there yet
    assert carried[late + 2] == []  # input of the next

    def told(*words: str) -> int:
        return sum(all(word in line for word in words) for line in said)

    assert told("gap: 1 missing", str(moment(single))) == 1
    assert told("gap: 3 missing", str(moment(gap[0])), str(moment(gap[-1]))) == 1
    assert told("given up") == told("given up", str(moment(damaged)), "truncated") == 1
    assert told("came late") == told("came late", str(moment(late))) == 1
    assert told("gap: 1 missing", str(moment(late))) == 1  # it was, when the next one came
    assert told("gap") == 3
    assert (told("no forecast"), told("expected 10 frames (2 in a row would do)")) == (2, 2)
    if feed.memory:
        assert feed.memory[24] - feed.memory[12] < GREW_MB


def test_at_the_start_the_newest_whole_frame_is_forecast_from(root: Path, tmp_path: Path):
    for number in range(12):
        write_frame(root, moment(number), rain(number))
    path = frame_path(root, moment(11))
    content = path.read_bytes()
    path.write_bytes(content[:50])
    feed = Feed(root, {2: [lambda: path.write_bytes(content)]}, 4)
    watch, said = watching(root, tmp_path / "out", feed)
    found = [str(forecast.init) for forecast in watch.forecasts(60.0, feed.wait)]
    assert found == [str(moment(10)), str(moment(11))]
    assert said == []


def test_each_forecast_of_an_ensemble_is_written_with_its_probabilities(root: Path, tmp_path: Path):
    class Lagged(Forecaster):
        def __init__(self, choice: Choice, description: Description) -> None:
            super().__init__(choice, description, 30.0, members=3, seed=5)

    for number in range(12):
        write_frame(root, moment(number), rain(number))
    feed = Feed(root, {2: [lambda: write_frame(root, moment(12), rain(12))]}, 4)
    request = ProbabilityRequest((2.0,), points=("px:30,30",))
    writing = partial(write_files, formats=["nc"], request=request)
    lagged = Choice("lagged-flow", PrecipitationSettings())
    watch, said = watching(root, tmp_path / "out", feed, lagged, kind=Lagged, writing=writing)
    made = list(watch.forecasts(60.0, feed.wait))
    assert said == [] and [str(one.init) for one in made] == [str(moment(11)), str(moment(12))]
    for folder in Outlet(tmp_path / "out", writing).forecasts():
        told = json.loads((folder / "forecast.json").read_text())["ensemble"]
        assert (told["members"], told["seed"], len(told["points"])) == (3, 5, 1)
        assert (folder / "forecast.nc").is_file()


def test_a_frame_waits_for_its_mask(root: Path, tmp_path: Path):
    data = np.ones((64, 64), dtype=bool)
    for number in range(11):
        write_frame(root, moment(number), rain(number))
        write_mask(root, moment(number), data)
    feed = Feed(
        root,
        {
            1: [lambda: write_frame(root, moment(11), rain(11))],
            3: [lambda: write_mask(root, moment(11), data)],
        },
        5,
    )
    watch, said = watching(root, tmp_path / "out", feed)
    when = {str(made.init): feed.seconds / 60 for made in watch.forecasts(30.0, feed.wait)}
    assert when == {str(moment(10)): 0.0, str(moment(11)): 3.0}
    assert said == []


def test_of_several_that_land_at_once_the_newest_is_forecast_from(root: Path, tmp_path: Path):
    for number in range(10):
        write_frame(root, moment(number), rain(number))
    landing = {1: [lambda n=n: write_frame(root, moment(n), rain(n)) for n in (10, 11, 12)]}
    feed = Feed(root, landing, 2)
    watch, said = watching(root, tmp_path / "out", feed)
    found = [str(forecast.init) for forecast in watch.forecasts(60.0, feed.wait)]
    assert (found, said) == ([str(moment(9)), str(moment(12))], [])


def test_the_last_forecasts_are_kept_and_nothing_else_is_touched(root: Path, tmp_path: Path):
    landing = {n: [lambda n=n: write_frame(root, moment(n), rain(n))] for n in range(1, 16)}
    write_frame(root, moment(0), rain(0))
    feed, out = Feed(root, landing, 17), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    watch, _ = watching(root, out, feed, keep=3)
    assert len(list(watch.forecasts(60.0, feed.wait))) == 15
    assert sorted(path.name for path in out.iterdir()) == [
        "20200630T2105",
        "20200630T2110",
        "20200630T2115",
        "latest.json",
        "notes.txt",
    ]


def test_a_folder_that_goes_away_is_waited_for(root: Path, tmp_path: Path):
    for number in range(11):
        write_frame(root, moment(number), rain(number))
    away = tmp_path / "away"

    def back() -> None:
        away.rename(root / "radarPNG")
        write_frame(root, moment(11), rain(11))

    landing = {1: [lambda: (root / "radarPNG").rename(away)], 4: [back]}
    feed = Feed(root, landing, 6)
    watch, said = watching(root, tmp_path / "out", feed)
    found = [str(forecast.init) for forecast in watch.forecasts(60.0, feed.wait)]
    assert found == [str(moment(10)), str(moment(11))]
    assert len(said) == 1 and "waiting" in said[0]


def test_a_frame_in_the_folder_of_another_day_is_said_once(root: Path, tmp_path: Path):
    for number in range(10):
        write_frame(root, moment(number), rain(number))
    wrong = frame_path(root, moment(9)).with_name("RAD200101120000.png")
    feed = Feed(root, {1: [lambda: wrong.write_bytes(b"")]}, 5)
    watch, said = watching(root, tmp_path / "out", feed)
    assert len(list(watch.forecasts(60.0, feed.wait))) == 1
    assert len(said) == 1 and wrong.name in said[0]


def test_the_weights_are_loaded_once_and_before_the_first_rain(root: Path, tmp_path: Path):
    choice, _ = write_run(tmp_path / "run")
    landing = {n: [lambda n=n: write_frame(root, moment(n), rain(n))] for n in range(1, 10)}
    write_frame(root, moment(0), rain(0))
    feed = Feed(root, landing, 11)
    watch, _ = watching(root, tmp_path / "out", feed, choice)
    (tmp_path / "run" / "best.safetensors").unlink()
    assert len(list(watch.forecasts(60.0, feed.wait))) == 10 - 3


def test_an_archive_that_has_no_frame_yet_is_waited_for(root: Path, tmp_path: Path):
    feed = Feed(root, {3: [lambda: write_frame(root, moment(0), rain(0))]}, 60)
    said: list[str] = []
    archive = opened_when_there(root, 60.0, feed.wait, said.append)
    assert archive is not None and len(archive.moments) == 1
    assert feed.seconds == 180 and len(said) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert opened_when_there(empty, 60.0, Feed(empty, {}, 2).wait, said.append) is None
    with pytest.raises(ConfigError, match="found none at"):
        opened_when_there(tmp_path / "nothing", 60.0, feed.wait, said.append)
    (root / "archive.json").write_text("{")
    with pytest.raises(DataError, match=r"archive\.json"):
        opened_when_there(root, 60.0, feed.wait, said.append)


def frames(root: Path, count: int, every: int = 5) -> dict[int, list[Land]]:
    """So many frames there at the start, and one more each step until the end of `count`."""
    for number in range(10):
        write_frame(root, moment(number), rain(number))
    return {
        every * (n - 9): [lambda n=n: write_frame(root, moment(n), rain(n))]
        for n in range(10, count)
    }


def test_a_disk_that_is_full_for_a_while_ends_nothing(root: Path, tmp_path: Path):
    full_from, full_until = 3, 18  # minutes
    feed, out = Feed(root, frames(root, 15), 40), tmp_path / "out"

    def write_if_room(forecast: Forecast, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        if full_from <= feed.seconds / 60 < full_until:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(forecast, folder)

    watch, said = watching(root, out, feed, writing=write_if_room)
    found = [forecast.init for forecast in watch.forecasts(10.0, feed.wait)]
    # Those of minutes 5 and 10 are overtaken; that of 15 is written as soon as there is room.
    assert found == [moment(n) for n in (9, 12, 13, 14)]
    assert [text.partition(":")[2].partition(":")[2] for text in said] == [
        f" not written: {out / '20200630T2050'}: cannot be written (No space left on device); make "
        "room, or choose a path on another disk. Going on; the newest forecast is tried again "
        "every minute",
        " written, forecasts can be written again; 2 before it were never written",
    ]
    assert json.loads((out / "latest.json").read_text())["init"] == str(moment(14))
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"20200630T{at}" for at in (2045, 2100, 2105, 2110)),
        "latest.json",
    ]


def test_a_file_in_the_way_of_one_forecast_stops_no_other(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "20200630T2050").write_text("in the way")
    feed = Feed(root, frames(root, 12), 30)
    watch, said = watching(root, out, feed, writing=partial(write_files, formats=("nc",)))
    found = [forecast.init for forecast in watch.forecasts(60.0, feed.wait)]
    assert found == [moment(9), moment(11)]
    assert len(said) == 2 and "20200630T2050" in said[0] and "written again; 1 before" in said[1]
    assert (out / "20200630T2050").read_text() == "in the way"


def test_an_old_forecast_that_cannot_be_removed_is_said_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    remove = shutil.rmtree

    def refuse(path: str | Path, **options: object) -> None:
        if Path(path).name.startswith(PREFIX):  # its own, half written
            remove(path)
            return
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    feed = Feed(root, frames(root, 13), 30)
    watch, said = watching(root, tmp_path / "out", feed, keep=1)
    assert len(list(watch.forecasts(60.0, feed.wait))) == 4
    assert len(said) == 1 and said[0].startswith("--keep: ") and "20200630T2045" in said[0]


@pytest.mark.parametrize(
    "error",
    [RunError("flow: expected numbers, found NaN"), MemoryError(), IndexError("out of range")],
    ids=lambda error: type(error).__name__,
)
def test_a_model_that_fails_at_one_time_forecasts_at_the_next(
    root: Path, tmp_path: Path, error: Exception
):
    class Fails(Forecaster):
        def _pixels(self, model, inputs):
            if inputs.init == moment(10):
                raise error
            return super()._pixels(model, inputs)

    feed = Feed(root, frames(root, 12), 30)
    watch, said = watching(root, tmp_path / "out", feed, kind=Fails)
    found = [forecast.init for forecast in watch.forecasts(60.0, feed.wait)]
    assert found == [moment(9), moment(11)]
    assert len(said) == 1 and said[0].startswith(f"{moment(10)}: no forecast: ")
    assert str(error) in said[0]


def test_a_mistake_that_the_next_frame_would_meet_too_ends_a_watch(root: Path, tmp_path: Path):
    class Mistaken(Forecaster):
        def _pixels(self, model, inputs):
            raise ConfigError("expected frames of 16 pixels, found 64")

    feed = Feed(root, frames(root, 12), 30)
    watch, _ = watching(root, tmp_path / "out", feed, kind=Mistaken)
    with pytest.raises(ConfigError, match="16 pixels"):
        list(watch.forecasts(60.0, feed.wait))
