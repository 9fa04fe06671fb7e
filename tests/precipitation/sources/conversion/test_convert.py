"""What is converted is what the source says, to the pixel; what cannot be rain is an error."""

import errno
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nowcast.cli.app import main
from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.conversion.convert import convert as convert_to
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.conversion.written import Written
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.table import sources
from nowcast.precipitation.units import Calibration
from tests.radar_files import sevir_row, write_knmi, write_odim, write_sevir

MARSHALL_PALMER = Calibration(200.0, 1.6)

Stack = Callable[..., Written]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Converts frames (time, height, width) at given minutes; into a folder `out` that is new."""

    def write(
        frames: Any, unit: str = "mm_h", minutes: Any = None, target: Target | None = None
    ) -> Written:
        frames = np.asarray(frames)
        minutes = 6 * np.arange(len(frames)) if minutes is None else np.asarray(minutes)
        np.save(tmp_path / "rain.npy", frames)
        np.save(tmp_path / "times.npy", np.datetime64("2020-05-01T10:00", "m") + minutes)
        request = Request(unit, times=tmp_path / "times.npy")
        target = Target(step_minutes=6) if target is None else target
        number = len(list(tmp_path.glob("out*")))
        out = tmp_path / f"out{number}"
        try:
            (written,) = convert_to(tmp_path / "rain.npy", out, "stack", request, target)
        except NowcastError:
            assert not list(tmp_path.glob(f"out{number}*")), "something was left behind"
            raise
        return written

    return write


def levels(written: Written, position: int = 0) -> np.ndarray:
    archive = Archive(written.root)
    return archive.frame(archive.moments[position])


def mask(written: Written, position: int = 0) -> np.ndarray:
    archive = Archive(written.root)
    return archive.mask(archive.moments[position])


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nowcast", "data", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def write_sums(folder: Path, count: int) -> None:
    """KNMI files of five minutes each, one after the other."""
    minutes = [f"26-AUG-2010;05:{5 * n:02}:00.000" for n in range(count + 1)]
    for n in range(count):
        dry = np.zeros((3, 4), dtype=np.uint16)
        write_knmi(folder / f"{n}.h5", dry, start=minutes[n], end=minutes[n + 1])


# From source to pixel


def test_knmi_originals_give_the_frames_of_the_archive(
    radar_dev: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    options = ["--importer", "knmi", "--unit", "mm", "--accumulation-minutes", 5]
    source = radar_dev / "knmi_hdf5_originals"
    out = tmp_path / "out"
    assert not call(monkeypatch, source, out, *options, "--crop", "188,668,129,609")
    said = capsys.readouterr().out
    assert "12 frames of 480x480 every 5 minutes, 59.6% of the pixels have data" in said
    assert f"next: nowcast forecast {out} --out {out}-forecast, " in said
    assert f"or:   nowcast data days {out}, " in said
    made, known = Archive(out), Archive(radar_dev)
    assert len(made.moments) == 12 and made.description.step_minutes == 5
    for moment in made.moments:
        assert np.array_equal(made.frame(moment), known.frame(moment))
        assert np.array_equal(made.mask(moment), known.mask(moment))
    seen = np.mean([known.mask(moment) for moment in made.moments], axis=0)
    assert np.array_equal(made.usable, seen >= 0.95)
    grid = made.description.grid
    assert (grid.x_west, grid.y_north, grid.pixel_x, grid.pixel_y) == (129, -3838, 1, 1)
    assert "cropped to rows 188:668, columns 129:609 of 765x700" in made.description.history
    assert not list(out.glob("hko_data/*.txt"))


def test_the_step_from_each_unit_to_a_pixel_by_hand(stack: Stack):
    # 20 dBZ is 30/70 of the scale, level floor(255 * 3 / 7 + 0.5) = 109.
    dbz = [[[-np.inf, -32.0, -10.0, 20.0, 60.0, 75.0]]]
    made = stack(dbz, "dBZ", target=Target(MARSHALL_PALMER, step_minutes=6))
    assert levels(made).tolist() == [[0, 0, 0, 109, 255, 255]]
    assert (made.description.zr_a, made.description.zr_b) == (200, 1.6)
    # 1 mm/h is 10 log10(58.53) = 17.67 dBZ, level 101; with 200 R^1.6 it is 23.01 dBZ, level 120.
    assert levels(stack([[[0.0, 1.0]]])).tolist() == [[0, 101]]
    target = Target(MARSHALL_PALMER, step_minutes=6)
    assert levels(stack([[[0.0, 1.0]]], target=target)).tolist() == [[0, 120]]
    # 0.25 mm in 15 minutes is 1 mm/h.
    target = Target(accumulation_minutes=15.0, step_minutes=6)
    assert levels(stack([[[0.0, 0.25]]], "mm", target=target)).tolist() == [[0, 101]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate_mm_h=st.lists(st.floats(0.2, 80), min_size=1, max_size=8),
    zr=st.tuples(st.floats(50, 400), st.floats(1.2, 1.6)),
)
def test_a_rate_comes_back_to_half_a_level(
    stack: Stack, rate_mm_h: list[float], zr: tuple[float, float]
):
    calibration = Calibration(*zr)
    made = stack([[rate_mm_h]], target=Target(calibration, step_minutes=6))
    dbz = calibration.dbz_from_rate(rate_mm_h)
    back = calibration.dbz_from_rate(
        Archive(made.root).calibration.rate_from_pixel(levels(made)[0] / 255)
    )
    inside = (dbz > -9.8) & (dbz < 60)
    assert np.abs(back - dbz)[inside].max(initial=0) <= 35 / 255 + 1e-9


def test_no_data_is_a_mask_and_never_a_level(stack: Stack):
    frames = np.ones((3, 2, 2), dtype=np.float32)
    frames[:, 0, 0] = np.nan
    frames[1, 1, 1] = -9999.9
    made = stack(frames, target=Target(no_data=-9999.9))
    assert [mask(made, n).tolist() for n in range(3)] == [
        [[False, True], [True, True]],
        [[False, True], [True, False]],
        [[False, True], [True, True]],
    ]
    assert levels(made, 1).tolist() == [[0, 101], [101, 0]]
    # Used are the pixels with data in at least 95 % of the frames: in all three.
    assert Archive(made.root).usable.tolist() == [[False, True], [True, False]]
    assert made.usable_share == 0.5


def test_odim_undetect_is_dry_and_used(tmp_path: Path):
    raw = np.array([[0, 104, 255]], dtype=np.uint8)
    write_odim(tmp_path / "a.h5", raw)
    target = Target(MARSHALL_PALMER, step_minutes=5)
    (made,) = convert_to(tmp_path / "a.h5", tmp_path / "out", "odim", Request("dBZ"), target)
    assert levels(made).tolist() == [[0, 109, 0]]
    assert mask(made).tolist() == [[True, True, False]]


# Crop and block mean


def test_a_crop_is_a_window_and_moves_the_grid(tmp_path: Path, stack: Stack):
    frame = np.arange(20.0).reshape(4, 5)
    whole = levels(stack([frame]))
    made = stack([frame], target=Target(step_minutes=6, crop=(1, 3, 2, 5)))
    assert np.array_equal(levels(made), whole[1:3, 2:5])
    write_knmi(tmp_path / "a.h5", frame.astype(np.uint16))
    target = Target(step_minutes=5, crop=(1, 3, 1, 5), block_mean=2)
    (made,) = convert_to(tmp_path / "a.h5", tmp_path / "knmi", "knmi", Request("mm"), target)
    grid = made.description.grid
    assert (grid.x_west, grid.y_north, grid.pixel_x, grid.pixel_y) == (1, -3651, 2, 2)
    assert made.description.pixel_km == (2, 2) and "pixels of 2 x 2 km" in made.summary()


def test_a_grid_of_impossible_pixels_is_left_out_and_said(tmp_path: Path):
    # The pixels' size is in km as a radar's is, and the projection says metres.
    write_knmi(tmp_path / "a.h5", np.ones((4, 5), np.uint16))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        place = file["geographic/map_projection"]
        place.attrs["projection_proj4_params"] = np.bytes_("+proj=stere +lat_0=90 +units=m")
    target = Target(step_minutes=5)
    (made,) = convert_to(tmp_path / "a.h5", tmp_path / "out", "knmi", Request("mm"), target)
    assert made.description.grid is None
    for said in (made.summary(), made.description.history[-1]):
        assert "expected pixels of 0.05 to 100 km, found 0.001 x 0.001 km" in said


@pytest.mark.parametrize(
    "crop", [(0, 5, 0, 5), (2, 2, 0, 5), (-1, 3, 0, 5), (0, 4, 3, 2), (0, 4, 0, 6)]
)
def test_a_crop_outside_is_an_error(stack: Stack, crop: tuple[int, int, int, int]):
    with pytest.raises(ConfigError, match=r"--crop: expected rows and columns inside 4x5 of .*npy"):
        stack(np.zeros((1, 4, 5)), target=Target(step_minutes=6, crop=crop))


def test_blocks_average_rain_rates_and_not_dbz(stack: Stack):
    # Three dry pixels and one of 40 mm/h rain 10 mm/h; the mean of dBZ would be -inf.
    frame = [[0.0, 40.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]]
    target = Target(step_minutes=6, block_mean=2)
    assert np.array_equal(levels(stack([frame], target=target)), levels(stack([[[10.0, 2.0]]])))
    zr = Target(MARSHALL_PALMER, step_minutes=6)
    dbz = MARSHALL_PALMER.dbz_from_rate(np.array(frame))
    made = stack([dbz], "dBZ", target=replace(zr, block_mean=2))
    assert np.array_equal(levels(made), levels(stack([[[10.0, 2.0]]], target=zr)))


def test_a_block_that_lacks_a_pixel_has_no_data(stack: Stack):
    frame = np.ones((4, 4))
    frame[3, 0] = np.nan
    made = stack([frame], target=Target(step_minutes=6, block_mean=2))
    assert mask(made).tolist() == [[True, True], [False, True]]
    assert levels(made).tolist() == [[101, 101], [0, 101]]


def test_blocks_that_do_not_fill_the_frame_are_answered_with_a_crop_that_does(stack: Stack):
    target = Target(step_minutes=6, block_mean=3)
    with pytest.raises(ConfigError, match=r"found 1 rows and 2 columns over; add --crop 0,6,0,3"):
        stack(np.zeros((1, 7, 5)), target=target)
    assert levels(stack(np.zeros((1, 7, 5)), target=replace(target, crop=(0, 6, 0, 3)))).size == 2


# What cannot be rain


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("mm_h", -0.1, "0 to 2000 mm/h"),
        ("mm_h", 2001.0, "0 to 2000 mm/h"),
        ("mm_h", np.inf, "0 to 2000 mm/h"),
        ("mm_h", -np.inf, "0 to 2000 mm/h"),
        ("mm", -9999.0, "0 mm or more"),
        ("mm", 655.35, "0 to 2000 mm/h"),
        ("dBZ", -9999.0, "-60 to 100 dBZ"),
        ("dBZ", 101.0, "-60 to 100 dBZ"),
        ("dBZ", np.inf, "-60 to 100 dBZ"),
    ],
)
def test_absurd_values_are_named_with_count_and_place(
    stack: Stack, unit: str, value: float, expected: str
):
    frames = np.zeros((3, 4, 5))
    frames[1, 2, 3] = frames[1, 3, 0] = value
    target = Target(
        MARSHALL_PALMER, accumulation_minutes=5.0 if unit == "mm" else None, step_minutes=6
    )
    message = (
        rf"rain\.npy, frame 1: expected {expected}, found 2 other values, .* at row 2 .* column 3"
    )
    with pytest.raises(DataError, match=f"{message}.*--no-data VALUE"):
        stack(frames, unit, target=target)
    with pytest.raises(DataError, match=message):
        stack(frames, unit, target=replace(target, no_data=1e300))
    if np.isfinite(value):
        made = stack(frames, unit, target=replace(target, no_data=value))
        assert mask(made, 1).sum() == 18


def test_the_bounds_themselves_are_taken(stack: Stack):
    stack([[[0.0, 2000.0]]])
    stack([[[-60.0, 100.0]]], "dBZ", target=Target(MARSHALL_PALMER, step_minutes=6))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(), st.sampled_from(["mm_h", "mm", "dBZ"]))
@example(1.7e308, "mm")
@example(5e-324, "mm_h")
def test_any_number_becomes_a_level_a_mask_or_an_error(stack: Stack, value: float, unit: str):
    target = Target(
        MARSHALL_PALMER, accumulation_minutes=5.0 if unit == "mm" else None, step_minutes=6
    )
    try:
        made = stack([[[1.0, value]]], unit, target=target)
    except DataError as error:
        assert "found 1 other values" in str(error) and "--no-data" in str(error)
        return
    assert mask(made)[0, 1] == (not np.isnan(value))
    if np.isnan(value):
        assert levels(made)[0, 1] == 0


# Times


def test_the_commonest_gap_is_the_step_and_gaps_are_counted(stack: Stack):
    frames = np.zeros((5, 1, 1))
    made = stack(frames, minutes=[0, 10, 20, 50, 60], target=Target())
    assert (made.description.step_minutes, made.missing, made.frames) == (10, 2, 5)
    assert "2 missing within episodes" in made.summary()
    made = stack(frames, minutes=[0, 10, 20, 50, 60], target=Target(step_minutes=5))
    assert (made.description.step_minutes, made.missing) == (5, 8)


def test_gaps_between_events_are_not_missing_frames(stack: Stack):
    day = 24 * 60
    minutes = [0, 5, 15, *(10 * day + np.arange(3) * 5), *(400 * day + np.arange(2) * 5)]
    made = stack(np.zeros((8, 1, 1)), minutes=minutes, target=Target())
    assert made.missing == 1  # and not the 115,194 between the events


@pytest.mark.parametrize("share", [0.95, 0.9, 1.0])
def test_a_share_of_frames_decides_on_the_exclude_mask(stack: Stack, share: float):
    frames = np.ones((100, 2, 2), dtype=np.float32)
    frames[:6, 0] = np.nan  # six partial frames
    frames[6:11, 1, 0] = np.nan
    frames[:, 1, 1] = np.nan  # out of reach
    target = Target() if share == 0.95 else Target(valid_share=share)
    made = stack(frames, minutes=np.arange(100) * 5, target=target)
    expected = {
        0.95: [[False, False], [True, False]],
        0.9: [[True, True], [True, False]],
        1.0: [[False, False], [False, False]],
    }
    assert Archive(made.root).usable.tolist() == expected[share]
    said = f"exclude mask: pixels with data in fewer than {share:.0%} of the frames"
    assert said in made.description.history
    assert f"in at least {share:.0%} of them" in made.summary()


@pytest.mark.parametrize(
    ("minutes", "target", "message"),
    [
        ([0, 5, 10, 13], Target(), r"frame 3: expected times every 5 minutes .*found .*10:13"),
        ([0, 5, 10, 15], Target(step_minutes=10), "frame 1: expected times every 10 minutes"),
        (
            [0, 10, 5, 15],
            Target(),
            "position 2: expected a later time than .*10:10 .*found .*10:05",
        ),
        ([0, 5, 5, 10], Target(), "position 2: expected a later time"),
    ],
)
def test_times_off_the_step_are_errors(
    stack: Stack, minutes: list[int], target: Target, message: str
):
    with pytest.raises(DataError, match=message):
        stack(np.zeros((4, 1, 1)), minutes=minutes, target=target)


@pytest.mark.parametrize(
    ("minutes", "blamed", "found"),
    [
        ([1, 5, 10, 15, 20], 0, "10:01"),
        ([0, 5, 11, 15, 20], 2, "10:11"),
        ([0, 5, 10, 15, 19], 4, "10:19"),
    ],
)
def test_the_frame_off_the_clock_of_most_is_blamed_and_not_the_others(
    stack: Stack, minutes: list[int], blamed: int, found: str
):
    message = rf"frame {blamed}: expected .* 5 minutes as .* and 3 others have, found .*{found}"
    with pytest.raises(DataError, match=message):
        stack(np.zeros((5, 1, 1)), minutes=minutes, target=Target())


def test_the_sum_over_other_minutes_than_most_is_blamed(tmp_path: Path):
    write_sums(tmp_path, 4)
    late = {"start": "26-AUG-2010;05:00:31.000", "end": "26-AUG-2010;05:05:00.000"}
    write_knmi(tmp_path / "0.h5", np.zeros((3, 4), dtype=np.uint16), **late)
    with pytest.raises(
        DataError, match=r"0\.h5: expected a sum over 5 minutes as 3 of 4 .*found 4"
    ):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request(), Target())


def test_a_single_sum_states_the_step(tmp_path: Path):
    write_sums(tmp_path, 1)
    (made,) = convert_to(tmp_path, tmp_path / "out", "knmi", Request(), Target())
    assert made.description.step_minutes == 5 and made.frames == 1


@pytest.mark.parametrize("unit", [None, "mm/h", "mm_h", "mm hr-1"])
def test_the_unit_is_the_files_or_spelled_in_any_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str | None
):
    write_odim(tmp_path / "a.h5", np.array([[0, 10, 255]], np.uint8), quantity="RATE", gain=0.1)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["dataset1/data1/what"].attrs["offset"] = 0.0
    options = [] if unit is None else ["--unit", unit]
    out = tmp_path / "out"
    assert not call(
        monkeypatch, tmp_path / "a.h5", out, "--importer", "odim", "--step", 5, *options
    )
    archive = Archive(out)
    assert archive.frame(archive.moments[0]).tolist() == [[0, 101, 0]]


@pytest.mark.parametrize(("units", "linear"), [("mm s-1", False), ("mm6 m-3", True)])
def test_no_data_is_declared_as_the_file_has_it(tmp_path: Path, units: str, linear: bool):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = np.float32([[[0, 1 / 3600, -9999.9]]])
        file["frames"].attrs["units"] = units
        file["times"] = [26_000_000]
    target = Target(MARSHALL_PALMER, step_minutes=5)
    with pytest.raises(DataError, match="--no-data VALUE"):
        convert_to(tmp_path / "a.h5", tmp_path / "out", "stack", Request(), target)
    target = replace(target, no_data=-9999.9)
    (made,) = convert_to(tmp_path / "a.h5", tmp_path / "out", "stack", Request(), target)
    assert mask(made).tolist() == [[True, True, False]]
    assert levels(made).tolist() == [[0, 0 if linear else 120, 0]]


def test_a_file_of_another_importer_is_told(tmp_path: Path):
    write_odim(tmp_path / "odim.h5", np.zeros((2, 2), np.uint8))
    write_knmi(tmp_path / "knmi.h5", np.zeros((2, 2), np.uint16))
    for name, importer, other in (("odim", "knmi", "odim"), ("knmi", "odim", "knmi")):
        message = rf"{name}\.h5: .*it looks like a file for --importer {other}"
        with pytest.raises(DataError, match=message):
            sources(importer, tmp_path / f"{name}.h5", Request())


def test_reflectivity_that_the_file_states_needs_a_relation_too(tmp_path: Path):
    write_odim(tmp_path / "a.h5", np.array([[0, 104]], np.uint8))
    for target, message in (
        (Target(step_minutes=5), r"--zr: .*a\.h5 holds reflectivity .*needs the radar's own Z-R"),
        (Target(MARSHALL_PALMER, 5.0, step_minutes=5), "belongs to --unit mm.* is in dBZ"),
    ):
        with pytest.raises(ConfigError, match=message):
            convert_to(tmp_path / "a.h5", tmp_path / "out", "odim", Request(), target)
        assert not (tmp_path / "out").exists()


def test_where_there_is_no_grid_the_command_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write_odim(
        tmp_path / "a.h5", np.zeros((2, 2), np.uint8), quantity="RATE", projection="+proj=foo"
    )
    options = ["--importer", "odim", "--step", 5]
    assert not call(monkeypatch, tmp_path / "a.h5", tmp_path / "out", *options)
    said = capsys.readouterr().out.replace("\n", " ")
    assert "grid not stated: PROJ does not know the projection '+proj=foo'" in said


def test_a_grid_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "rain.npy", np.zeros((2, 2, 4)))
    np.save(tmp_path / "times.npy", np.datetime64("2020-05-01T10:00", "m") + np.array([0, 5]))
    options = ["--importer", "stack", "--unit", "mm/h", "--times", tmp_path / "times.npy"]
    place = ["--projection", "EPSG:4326", "--bounds", "5,47,5.5,47.5"]
    assert not call(monkeypatch, tmp_path / "rain.npy", tmp_path / "out", *options, *place)
    grid = Archive(tmp_path / "out").description.grid
    assert (grid.x_west, grid.y_north, grid.pixel_x, grid.pixel_y) == (5, 47.5, 0.125, 0.25)
    assert grid.projection.startswith("+proj=longlat")
    assert call(monkeypatch, tmp_path / "rain.npy", tmp_path / "o2", *options, "--bounds", "5") == 2


def test_frames_further_apart_than_an_archive_may_have_are_an_error(stack: Stack):
    with pytest.raises(ConfigError, match="--step: rain has frames 2880 minutes apart"):
        stack(np.zeros((2, 1, 1)), minutes=[0, 2880], target=Target())


def test_frames_larger_than_an_archive_may_have_are_cut_or_refused(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("nowcast.precipitation.sources.conversion.cut.LARGEST_PIXELS", 8)
    with pytest.raises(ConfigError, match="would be frames of 3x3, expected at most 8 pixels"):
        stack(np.zeros((1, 3, 3)))
    target = Target(step_minutes=6, crop=(0, 2, 0, 3))
    assert stack(np.zeros((1, 3, 3)), target=target).description.width == 3


def test_a_single_frame_needs_the_step(stack: Stack):
    with pytest.raises(ConfigError, match=r"--step: .*frame 0 is a single frame"):
        stack(np.zeros((1, 2, 2)), target=Target())


def test_a_frame_without_any_data_is_missing_and_not_dry(stack: Stack):
    frames = np.zeros((4, 2, 2))
    frames[2] = np.nan
    made = stack(frames)
    archive = Archive(made.root)
    assert (made.frames, made.empty, len(archive.moments)) == (3, 1, 3)
    assert archive.usable.all()
    assert "1 fields without any data left out; 3 frames written" in made.description.history
    with pytest.raises(DataError, match="expected data in some frame, found none"):
        stack(np.full((2, 2, 2), np.nan))


# Files that contradict each other, and options


def test_files_of_two_sizes_or_two_grids_are_errors(tmp_path: Path):
    first = np.zeros((3, 4), dtype=np.uint16)
    write_knmi(tmp_path / "a.h5", first)
    later = {"start": "26-AUG-2010;05:00:00.000", "end": "26-AUG-2010;05:05:00.000"}
    write_knmi(tmp_path / "b.h5", first[:2], **later)
    with pytest.raises(DataError, match=r"b\.h5: expected 3x4 pixels .*found 2x4"):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request("mm"), Target())
    write_knmi(tmp_path / "b.h5", first, **later)
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file["geographic"].attrs["geo_row_offset"] = 3651.0
    with pytest.raises(DataError, match=r"b\.h5: expected the grid of the frame of .*convert the"):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request("mm"), Target())
    write_knmi(tmp_path / "b.h5", first, **later | {"start": "26-AUG-2010;04:50:00.000"})
    with pytest.raises(DataError, match=r"b\.h5: expected a sum over 5 minutes .*found 15"):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request("mm"), Target())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_minutes_that_contradict_the_file_are_an_error(tmp_path: Path):
    write_knmi(tmp_path / "a.h5", np.zeros((3, 4), dtype=np.uint16))
    target = Target(step_minutes=5, accumulation_minutes=60.0)
    with pytest.raises(DataError, match=r"a\.h5: states a sum over 5 minutes, but --acc.* says 60"):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request("mm"), target)


@pytest.mark.parametrize(
    ("unit", "target", "message"),
    [
        ("dBZ", Target(), "--zr: --unit dBZ needs the radar's own Z-R relation"),
        ("mm", Target(step_minutes=6), "--accumulation-minutes: .* does not state"),
        ("mm_h", Target(accumulation_minutes=5.0), "belongs to --unit mm"),
        ("mm", Target(accumulation_minutes=0.0), "expected more than 0"),
        ("mm_h", Target(block_mean=0), "--block-mean: expected at least 1"),
        ("mm_h", Target(step_minutes=0), "--step: expected 1 to 1440 minutes, found 0"),
        ("mm_h", Target(step_minutes=1441), "--step: expected 1 to 1440 minutes, found 1441"),
        ("mm_h", Target(no_data=np.nan), "--no-data: NaN always means no data"),
    ],
)
def test_options_that_lack_or_contradict(stack: Stack, unit: str, target: Target, message: str):
    with pytest.raises(ConfigError, match=message):
        stack(np.zeros((2, 2, 2)), unit, target=target)


def test_an_option_of_another_importer_is_an_error_and_not_ignored(tmp_path: Path):
    for option, request in (
        ("--times", Request("mm", times=tmp_path)),
        ("--south-first", Request("mm", south_first=True)),
        ("--projection", Request("mm", projection="EPSG:3035")),
        ("--bounds", Request("mm", bounds=(0.0, 0.0, 1.0, 1.0))),
        ("--name-pattern", Request("mm", name_pattern="%Y")),
        ("--catalog", Request("mm", catalog=tmp_path)),
    ):
        with pytest.raises(ConfigError, match=f"{option}: --importer knmi does not use it"):
            sources("knmi", tmp_path, request)
    with pytest.raises(
        ConfigError, match=r"--importer: expected odim, .* or pysteps:NAME, found x"
    ):
        sources("x", tmp_path, Request("mm"))


def test_vil_is_kept_as_it_is(tmp_path: Path):
    vil = np.zeros((1, 384, 384, 49), dtype=np.uint8)
    path, catalog = write_sevir(tmp_path, vil, [sevir_row("S1", 0)])
    for target in (Target(block_mean=2), Target(MARSHALL_PALMER)):
        with pytest.raises(ConfigError, match="SEVIR's VIL levels are kept as they are"):
            convert_to(path, tmp_path / "out", "sevir", Request(catalog=catalog), target)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--importer", "knmi", "--unit", "mm", "--crop", "1,2,3"], 2, "--crop: expected first"),
        (["--importer", "knmi", "--unit", "dBZ", "--zr", "200"], 2, "--zr: expected A,B"),
        (["--importer", "knmi", "--unit", "dBZ", "--zr=-1,1.6"], 2, "--zr: expected A,B"),
        (["--importer", "stack", "--unit", "mm", "--datasets", "x"], 2, "--datasets: expected two"),
        (["--importer", "pysteps:x", "--unit", "mm", "--setting", "x"], 2, "--setting: expected"),
        (["--importer", "knmi", "--unit", "mm"], 2, "expected a file or a folder"),
        (["--importer", "odim", "--unit", "kelvin"], 2, "--unit: expected dBZ or mm6 m-3"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
):
    assert call(monkeypatch, tmp_path / "none", tmp_path / "out", *arguments) == status
    assert f"nowcast: {message}" in capsys.readouterr().err.replace(f"{tmp_path}/none: ", "")
    assert not (tmp_path / "out").exists()


# Nothing half is taken for whole


def test_what_stands_there_is_not_touched(tmp_path: Path):
    write_knmi(tmp_path / "a.h5", np.zeros((3, 4), dtype=np.uint16))
    arguments = (tmp_path / "a.h5", tmp_path / "out", "knmi", Request("mm"), Target(step_minutes=5))
    convert_to(*arguments)
    before = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        convert_to(*arguments)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == before
    (tmp_path / "other.part").mkdir()
    with pytest.raises(ConfigError, match=r"other\.part: expected nothing there"):
        convert_to(arguments[0], tmp_path / "other", *arguments[2:])
    assert (tmp_path / "other.part").is_dir() and not (tmp_path / "other").exists()


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_full_disk_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    """At the first frame, a mask, a later frame, and the exclude mask."""
    write_sums(tmp_path, 2)
    written: list[Path] = []
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if len(written) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    if after == 3:
        monkeypatch.setattr(np, "savez_compressed", lambda *a, **k: full(Path(), b""))
    with pytest.raises(DataError, match=r"out: cannot be written \(No space left .*make room"):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request("mm"), Target())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5"]


def test_events_before_a_full_disk_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    vil = np.zeros((2, 384, 384, 49), dtype=np.uint8)
    path, catalog = write_sevir(tmp_path, vil, [sevir_row("S1", 0), sevir_row("S2", 1)])
    write_bytes, count = Path.write_bytes, iter(range(1000))

    def full(path: Path, data: bytes) -> int:
        if next(count) >= 110:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    target = Target(crop=(0, 16, 0, 16))
    with pytest.raises(DataError, match="1 archives before it are whole"):
        convert_to(path, tmp_path / "out", "sevir", Request(catalog=catalog), target)
    assert [made.name for made in (tmp_path / "out").iterdir()] == ["S1"]
    assert len(Archive(tmp_path / "out" / "S1").moments) == 49


def test_stopped_by_hand_it_leaves_nothing(tmp_path: Path):
    write_sums(tmp_path, 3)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_to(tmp_path, tmp_path / "out", "knmi", Request("mm"), Target(step_minutes=5), stop)
    assert not list(tmp_path.glob("out*"))


# Damaged HDF5


def damaged(data: bytes, rng: np.random.Generator, place: slice | None = None) -> bytes:
    """Bytes cut off, or one or twenty of them changed (inside a place)."""
    kind = int(rng.integers(3))
    if kind == 0 and place is None:
        return data[: int(rng.integers(len(data)))]
    changed = np.frombuffer(data, dtype=np.uint8).copy()
    first, end = (place.start, place.stop) if place else (0, len(data))
    where = rng.integers(first, end, 1 if kind < 2 else 20)
    changed[where] ^= rng.integers(1, 256, len(where)).astype(np.uint8)
    return changed.tobytes()


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Request]]:
    folder = tmp_path_factory.mktemp("whole")
    raw = np.random.default_rng(0).integers(0, 200, (24, 24)).astype(np.uint8)
    raw[:3], raw[5:9] = 255, 0
    write_odim(folder / "odim.h5", raw, compression="gzip")
    write_knmi(folder / "knmi.h5", raw.astype(np.uint16))
    with h5py.File(folder / "stack.h5", "w") as file:
        frames = raw[None].astype(np.float32) / 4
        file.create_dataset("frames", data=frames, compression="gzip")
        file["times"] = np.array([26_000_000])
    return {
        "odim": (folder / "odim.h5", Request("dBZ")),
        "knmi": (folder / "knmi.h5", Request("mm")),
        "stack": (folder / "stack.h5", Request("mm_h")),
    }


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("name", ["odim", "knmi", "stack"])
def test_a_damaged_file_is_an_error_or_a_whole_archive(
    whole_files: dict[str, tuple[Path, Request]], tmp_path: Path, name: str, seed: int
):
    """HDF5 has no checksums of its own: a changed byte of a gain or of a time cannot be told from
    a true one. So what is claimed is that nothing crashes, that every error names the file, and
    that what is written is whole and inside the bounds. Nothing is claimed about its values."""
    path, request = whole_files[name]
    bad = tmp_path / "bad.h5"
    bad.write_bytes(damaged(path.read_bytes(), np.random.default_rng(seed)))
    out = tmp_path / "out"
    try:
        convert_to(bad, out, name, request, Target(MARSHALL_PALMER, step_minutes=5))
    except NowcastError as error:
        assert "bad.h5" in str(error)
        assert [found.name for found in tmp_path.iterdir()] == ["bad.h5"]
        return
    archive = Archive(out)
    for moment in archive.moments:
        assert not archive.frame(moment)[~archive.mask(moment)].any()


@pytest.mark.parametrize("name", ["odim", "knmi", "stack"])
def test_a_cut_off_file_is_always_an_error(
    whole_files: dict[str, tuple[Path, Request]], tmp_path: Path, name: str
):
    path, request = whole_files[name]
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "bad.h5").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"bad\.h5: expected .*fetch it again, remove it"):
            sources(name, tmp_path / "bad.h5", request)[0].read(0)


@pytest.mark.parametrize("name", ["odim", "knmi", "stack"])
def test_changed_bytes_of_compressed_frames_are_found(
    whole_files: dict[str, tuple[Path, Request]], tmp_path: Path, name: str
):
    """zlib has a checksum, so compressed frames are safe: an error, or bytes that mean the same."""
    path, request = whole_files[name]
    at = {"odim": "dataset1/data1/data", "knmi": "image1/image_data", "stack": "frames"}[name]
    with h5py.File(path) as file:
        chunk = file[at].id.get_chunk_info(0)
    place = slice(chunk.byte_offset, chunk.byte_offset + chunk.size)
    known = sources(name, path, request)[0].read(0)
    rng = np.random.default_rng(1)
    errors = 0
    for _ in range(100):
        bad = tmp_path / "bad.h5"
        bad.write_bytes(damaged(path.read_bytes(), rng, place))
        try:
            field = sources(name, bad, request)[0].read(0)
        except DataError:
            errors += 1
        else:
            assert np.array_equal(field.values, known.values, equal_nan=True)
    assert errors >= 90
