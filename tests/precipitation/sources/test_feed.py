"""Radar files as they arrive, as frames of a forecast: their values, times, faults and growth."""

import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import nowcast
from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.frames import FrameError
from nowcast.precipitation.forecasting.inputs import FrameSource, newest
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.feed.files import newest_files
from nowcast.precipitation.sources.feed.reader import Feed, Reading
from nowcast.precipitation.sources.field import time_in_name
from nowcast.precipitation.units import Calibration
from tests.radar_files import write_knmi, write_odim

START = np.datetime64("2020-06-01T12:00", "m")
RNG = np.random.default_rng(0)
DBZ = Reading(target=Target(calibration=Calibration(200.0, 1.6)))


def sums(path: Path, number: int, step: int = 5, minutes: int | None = None) -> np.ndarray:
    """An ODIM file of rain sums in 0.01 mm, whose sum ends at START + number * step."""
    raw = RNG.integers(0, 300, (12, 16)).astype(np.uint16)
    raw[0, 0], raw[1, 1] = 65535, 65534
    minutes = minutes or step
    begin = str(START + number * step - minutes)
    write_odim(
        path,
        raw,
        quantity="ACRR",
        gain=0.01,
        offset=0.0,
        nodata=65535,
        undetect=65534,
        date=begin[:10].replace("-", ""),
        time=begin[11:].replace(":", "") + "00",
        minutes=minutes,
    )
    return raw


def feed_of(folder: Path, count: int, step: int = 5) -> list[np.ndarray]:
    folder.mkdir(exist_ok=True)
    return [sums(folder / f"rain_{n:02}.h5", n, step) for n in range(count)]


def test_values_reach_the_forecaster_in_single_precision(tmp_path: Path):
    raw = feed_of(tmp_path / "in", 4)
    feed = Feed([tmp_path / "in"])
    assert feed.moments.tolist() == (START + 5 * np.arange(4)).tolist()
    assert (feed.shape, feed.description.step_minutes, feed.description.name) == ((12, 16), 5, "in")
    assert feed.description.grid is not None
    inputs = newest(FrameSource(feed, "both"), 4)
    assert inputs.levels.dtype == np.float32
    for frame, mask, given in zip(inputs.levels, inputs.mask, raw, strict=True):
        rate = np.where(given == 65534, 0, given * 0.01 * 12)
        assert mask.sum() == mask.size - 1 and not mask[0, 0] and frame[0, 0] == 0
        expected = Calibration().pixel_from_rate(rate)
        assert np.abs(frame - expected)[mask].max() < 1e-7
        assert len(np.unique(frame)) > 100  # 8 bits would have fewer
    assert inputs.masks == "frame"


def test_a_forecast_from_files_is_as_fine_as_they_are(tmp_path: Path):
    raw = feed_of(tmp_path / "in", 7)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = nowcast.forecast(tmp_path / "in", "persistence", lead_minutes=10)
    rate = np.where(raw[-1] == 65534, 0.0, raw[-1] * 0.12)
    rate[0, 0] = np.nan
    low = Calibration().rate_from_pixel(1e-9)  # -10 dBZ is dry
    np.testing.assert_allclose(made.rates[1], np.where(rate < low, 0, rate), rtol=1e-5, atol=1e-6)
    assert (made.init, len(made.times)) == (START + 30, 2)
    assert len(made.facts["inputs"]) == 7
    assert any("7 input frames" in str(one.message) for one in said)


def test_reflectivity_needs_its_relation_and_has_it(tmp_path: Path):
    for number in range(3):
        raw = RNG.integers(0, 255, (12, 16)).astype(np.uint8)
        write_odim(tmp_path / f"t{number}.h5", raw, time=f"12{5 * number:02}00")
    with pytest.raises(ConfigError, match=r"--zr: .*t2\.h5 holds reflectivity .* 200,1\.6"):
        Feed([tmp_path])
    feed = Feed([tmp_path], DBZ)
    assert (feed.description.zr_a, feed.description.zr_b) == (200, 1.6)
    expected = np.clip((raw * 0.5 - 32 + 10) / 70, 0, 1)
    assert np.abs(feed.frame(feed.moments[-1]) - expected).max() < 1e-7


def test_files_folders_and_globs_and_each_file_once(tmp_path: Path):
    feed_of(tmp_path / "in", 4)
    every = [START + 5 * n for n in range(4)]
    one, two = tmp_path / "in" / "rain_01.h5", tmp_path / "in" / "rain_02.h5"
    assert list(Feed([one, two]).moments) == every[1:3]
    assert list(Feed([tmp_path / "in" / "rain_0[12].h5"]).moments) == every[1:3]
    assert list(Feed([one, tmp_path / "in"]).moments) == every
    with pytest.raises(ConfigError, match="expected files like this, found none"):
        Feed([tmp_path / "*.nc"])
    with pytest.raises(ConfigError, match="found nothing there"):
        Feed([tmp_path / "elsewhere"])


def test_only_the_newest_files_are_opened(tmp_path: Path):
    names = [tmp_path / f"radar_{START + 5 * n}.h5".replace(":", "") for n in range(300)]
    assert newest_files(names[::-1]) == names[-64:]
    assert newest_files(names, START + 5 * 100)[-32:] == names[101:133]
    unnamed = [tmp_path / f"t{n}.h5" for n in range(200)]
    assert newest_files([*unnamed[::-1], *names])[:200] == unnamed
    with pytest.raises(ConfigError, match="times in the names of so many files"):
        newest_files([tmp_path / f"t{n}.h5" for n in range(5000)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RAD_NL25_RAP_5min_201008260500.h5", "2010-08-26T05:00"),
        ("PrecipRate_00.00_20230630-081200.grib2.gz", "2023-06-30T08:12"),
        ("2024-05-01T12:05.nc", "2024-05-01T12:05"),
        ("raa01-ww_10000-2105151200-dwd---bin", None),
        ("rain_20240501.nc", "2024-05-01T00:00"),
        ("x120240501.h5", None),
        ("rain_20240231_1200.h5", None),
    ],
)
def test_the_time_in_a_name(name: str, said: str | None):
    assert time_in_name(name) == (None if said is None else np.datetime64(said, "m"))


def test_a_folder_that_grows_is_opened_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    feed_of(tmp_path, 3)
    feed = Feed([tmp_path])
    opened: list[str] = []
    recognised = DECODER.recognised

    def asked(path: Path) -> str:
        opened.append(path.name)
        return recognised(path)

    monkeypatch.setattr(DECODER, "recognised", asked)
    sums(tmp_path / "rain_03.h5", 3)
    whole = (tmp_path / "rain_03.h5").read_bytes()
    (tmp_path / "rain_03.h5").write_bytes(whole[: len(whole) // 2])
    assert len(feed.refresh()) == 3 and opened == ["rain_03.h5"]
    assert [path.name for path in feed.unreadable] == ["rain_03.h5"]
    assert "1 files passed over" in feed.notes[0]
    assert len(feed.refresh()) == 3 and len(opened) == 1  # it has not changed
    (tmp_path / "rain_03.h5").write_bytes(whole)
    assert feed.refresh()[-1] == START + 15 and feed.unreadable == {}
    before = feed.state(START)
    raw = sums(tmp_path / "rain_00.h5", 0)
    os.utime(tmp_path / "rain_00.h5", (time.time() + 5,) * 2)
    feed.refresh()
    assert feed.state(START) != before and opened[-1] == "rain_00.h5"
    rate = np.where(raw < 65534, raw * 0.12, 0)
    assert np.abs(feed.frame(START) - Calibration().pixel_from_rate(rate)).max() < 1e-7
    (tmp_path / "rain_01.h5").unlink()
    assert START + 5 in feed.moments and START + 5 not in feed.refresh()


def test_what_one_file_has_wrong_costs_its_frame(tmp_path: Path):
    feed_of(tmp_path, 6)
    write_knmi(tmp_path / "x.h5", np.ones((9, 9), np.uint16), end="01-JUN-2020;11:40:00.000")
    (tmp_path / "rain_04.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(900))
    sums(tmp_path / "again.h5", 2)
    feed = Feed([tmp_path])
    assert START + 20 not in feed.moments
    assert any("rain_04.h5" in note for note in feed.notes)
    for moment, said in (
        (START + 10, "both hold the time"),
        (START - 20, "expected 12x16 pixels|ends at .* before it starts"),
        (START + 21, "there is no frame of"),
    ):
        with pytest.raises(FrameError, match=said):
            feed.frame(moment)
    for path in tmp_path.iterdir():
        path.write_bytes(b"no radar")
    with pytest.raises(DataError, match="found none that can be read among 8"):
        feed.refresh()


def test_other_steps_and_mixed_ones(tmp_path: Path):
    feed_of(tmp_path / "two", 4, step=2)
    assert Feed([tmp_path / "two"]).description.step_minutes == 2
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number in range(4):
        sums(mixed / f"a{number}.h5", number, step=10, minutes=5)
    sums(mixed / "b.h5", 7, step=4, minutes=5)  # 12:28, off the clock of 10 minutes
    feed = Feed([mixed])
    assert list(feed.moments) == [START + 10 * n for n in range(4)]
    assert feed.notes == (
        "1 frames passed over, off the clock of 10 minutes that most have",
        "rain sums over 5 minutes, 10 minutes apart, taken for the mean rate over them",
    )
    (single := tmp_path / "single").mkdir()
    sums(single / "a.h5", 0)
    assert Feed([single]).description.step_minutes == 5  # what its sum is over
    write_odim(single / "a.h5", np.zeros((4, 4), np.uint8))
    with pytest.raises(ConfigError, match="a single frame does not tell the minutes"):
        Feed([single], DBZ)
