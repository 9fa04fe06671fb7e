"""Plain stacks: frames and times as arrays, and netCDF's attributes where they are there."""

import importlib.util
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.sample import FILE
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Request, Source
from nowcast.precipitation.sources.stack import reader as stack
from nowcast.precipitation.sources.stack.reader import read_stack
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration, encode

FRAMES = np.arange(4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
TIMES = np.array(["2020-06-01T00:00", "2020-06-01T00:05", "2020-06-01T00:10", "2020-06-01T00:15"])
TIMES = TIMES.astype("datetime64[m]")


def npy(folder: Path, frames: np.ndarray, times: np.ndarray) -> tuple[Path, Path]:
    np.save(folder / "rain.npy", frames)
    np.save(folder / "times.npy", times)
    return folder / "rain.npy", folder / "times.npy"


def read(folder: Path, frames: np.ndarray = FRAMES, times: np.ndarray = TIMES) -> Source:
    path, times_path = npy(folder, frames, times)
    (source,) = read_stack(path, Request(unit="mm_h", times=times_path))
    return source


@pytest.mark.parametrize(
    "times",
    [
        TIMES,
        TIMES.astype("datetime64[ns]"),
        TIMES.astype(np.int64),
        TIMES.astype(np.int64).astype(np.uint32),
    ],
    ids=["minutes", "nanoseconds", "int64", "uint32"],
)
def test_an_npy_stack(tmp_path: Path, times: np.ndarray):
    source = read(tmp_path, times=times)
    assert np.array_equal(source.times, TIMES)
    assert np.array_equal([field.values for field in source], FRAMES)
    assert source.read(2).time == TIMES[2]
    assert source.read(2).unit == "mm_h"


def test_rows_are_turned_if_they_start_in_the_south(tmp_path: Path):
    path, times = npy(tmp_path, FRAMES, TIMES)
    (source,) = read_stack(path, Request(unit="mm_h", times=times, south_first=True))
    assert np.array_equal(source.read(1).values, FRAMES[1, ::-1])
    assert source.notes[0] == "stack: row 0 taken as the southernmost, as --south-first says"
    assert source.notes[1].startswith("grid not stated: the stack has no x and y coordinates")


def test_an_hdf5_stack_with_names_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("rain", data=FRAMES, chunks=(3, 1, 2))
        file["minutes"] = TIMES.astype(np.int64)
    request = Request(unit="mm", datasets=("rain", "minutes"))
    for bytes_at_once in (stack.SLAB_BYTES, 1, 2 * FRAMES[0].nbytes):
        monkeypatch.setattr(stack, "SLAB_BYTES", bytes_at_once)
        (source,) = read_stack(tmp_path / "a.h5", request)
        for position in (3, 0, 1, 2, 1):
            assert np.array_equal(source.read(position).values, FRAMES[position])
    with pytest.raises(ConfigError, match=r"a\.h5: expected one array with the times of /rain"):
        read_stack(tmp_path / "a.h5", Request(unit="mm"))


def test_netcdf_attributes_are_honoured(tmp_path: Path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["frames"] = np.array([[[0, 5, -9]], [[1, 2, 3]]], dtype=np.int16)
        file["frames"].attrs["scale_factor"] = np.array([0.1])
        file["frames"].attrs["add_offset"] = np.array([1.0])
        file["frames"].attrs["_FillValue"] = np.array([-9], dtype=np.int16)
        file["frames"].attrs["units"] = np.bytes_("mm/h")
        file["times"] = np.array([0.0, 1 / 12])
        file["times"].attrs["units"] = "hours since 2020-06-01T00:50:00"
    (source,) = read_stack(tmp_path / "a.nc", Request(unit="mm_h"))
    np.testing.assert_allclose(source.read(0).values, [[1, 1.5, np.nan]])
    assert [str(moment) for moment in source.times] == ["2020-06-01T00:50", "2020-06-01T00:55"]
    with pytest.raises(DataError, match=r"states the units 'mm/h', but --unit says mm; leave"):
        read_stack(tmp_path / "a.nc", Request(unit="mm"))


FOUND = importlib.util.find_spec("pycomlink")


@pytest.mark.skipif(FOUND is None, reason="needs the package pycomlink")
def test_a_netcdf_of_dwd_is_read_as_its_attributes_say(tmp_path: Path):
    """Real radar: packed numbers, fill values, chunks longer than the stack, south first."""
    first, count = 1060, 24  # at 1067 a radar is off
    with (
        h5py.File(Path(FOUND.origin).parent / FILE) as whole,
        h5py.File(tmp_path / "dwd.nc", "w") as part,
    ):
        raw = whole["rainfall_amount"][first : first + count]
        part.create_dataset("rain", data=raw, chunks=(20, 38, 46), compression="gzip")
        part["time"] = whole["time"][first : first + count]
        for key in ("scale_factor", "_FillValue", "units", "standard_name"):  # kg, an amount
            part["rain"].attrs[key] = whole["rainfall_amount"].attrs[key]
        part["time"].attrs["units"] = whole["time"].attrs["units"]
    zr = Calibration(DWD_ZR_A, DWD_ZR_B)
    (made,) = convert(
        tmp_path / "dwd.nc",
        tmp_path / "out",
        "stack",
        Request(datasets=("rain", "time"), south_first=True),
        Target(zr, accumulation_minutes=5.0),
    )
    archive = Archive(made.root)
    start = np.datetime64("2018-05-10T00:00", "m")  # as in the DWD sample
    assert np.array_equal(archive.moments, start + np.timedelta64(5, "m") * np.arange(1060, 1084))
    for moment, sums in zip(archive.moments, raw[:, ::-1], strict=True):
        mask = sums != -9999
        rate_mm_h = np.where(mask, sums, 0) * 0.01 * 12
        assert np.array_equal(archive.mask(moment), mask)
        assert np.array_equal(archive.frame(moment), encode(zr.pixel_from_rate(rate_mm_h)))
    data = (raw[:, ::-1] != -9999).mean(axis=0)
    assert np.array_equal(archive.usable, data >= 0.95)
    assert (archive.usable & (data < 1)).any()  # one frame lacks a radar


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (TIMES[[0, 1, 1, 3]], r"times\.npy, position 2: expected a later time than .*00:05"),
        (
            TIMES[[0, 2, 1, 3]],
            r"position 2: expected a later time than .*00:10 .*found .*00:05;",
        ),
        (TIMES[:3], "expected one time for each of the 4 frames of .*rain.npy, found 3"),
        (TIMES.astype(np.int64) * 60, "which is no year of 1900-2100; are they seconds"),
        (TIMES.astype("datetime64[s]") + 30, "expected times on whole minutes.* at position 0"),
        (np.array([*TIMES[:3], "NaT"], "datetime64[m]"), r"found none \(NaT\) at position 3"),
        (TIMES.astype(np.float64), "expected datetime64 or whole minutes .*found float64"),
        (TIMES[:, None], r"expected times with one axis, found the shape \(4, 1\)"),
    ],
    ids=["twice", "backwards", "too few", "seconds", "half minutes", "NaT", "floats", "two axes"],
)
def test_bad_times_are_errors(tmp_path: Path, times: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        read(tmp_path, times=times)


@pytest.mark.parametrize(
    "frames",
    [FRAMES[0], FRAMES[None], FRAMES.astype(bool), FRAMES.astype("S3"), FRAMES[:, :0]],
    ids=["2 axes", "4 axes", "booleans", "text", "no rows"],
)
def test_other_arrays_are_errors(tmp_path: Path, frames: np.ndarray):
    with pytest.raises(DataError, match=r"rain\.npy: expected numbers with the axes"):
        read(tmp_path, frames)


def test_pickles_are_not_opened(tmp_path: Path):
    path, times = npy(tmp_path, FRAMES, TIMES)
    for bad in (path, times):
        whole = bad.read_bytes()
        np.save(bad, np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(DataError, match=rf"{bad.name}: expected an \.npy file of plain"):
            read_stack(path, Request(unit="mm_h", times=times))
        bad.write_bytes(pickle.dumps([1, 2]))
        with pytest.raises(DataError, match=rf"{bad.name}: expected an \.npy file of plain"):
            read_stack(path, Request(unit="mm_h", times=times))
        bad.write_bytes(whole)


@pytest.mark.parametrize("kept", [0, 5, 60, 150])
def test_a_cut_off_npy_is_an_error(tmp_path: Path, kept: int):
    path, times = npy(tmp_path, FRAMES, TIMES)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"rain\.npy: expected an .npy file .*save it again"):
        read_stack(path, Request(unit="mm_h", times=times))


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("fortnights since 1970-01-01", "expected units like 'minutes since"),
        ("minutes since the flood", "found 'minutes since the flood'"),
    ],
)
def test_time_units_that_are_not_understood_are_errors(tmp_path: Path, units: str, message: str):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"], file["times"] = FRAMES, TIMES.astype(np.int64)
        file["times"].attrs["units"] = units
    with pytest.raises(DataError, match=message):
        read_stack(tmp_path / "a.h5", Request(unit="mm"))


def test_a_time_zone_in_the_units_is_honoured(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"], file["times"] = FRAMES, TIMES.astype(np.int64) + 120
        file["times"].attrs["units"] = "minutes since 1970-01-01T00:00+02:00"
    (source,) = read_stack(tmp_path / "a.h5", Request(unit="mm"))
    assert np.array_equal(source.times, TIMES)


def test_what_is_lacking_is_said(tmp_path: Path):
    path, times = npy(tmp_path, FRAMES, TIMES)
    with pytest.raises(ConfigError, match=r"--times: expected the \.npy file with the times of"):
        read_stack(path, Request(unit="mm"))
    with pytest.raises(ConfigError, match=r"none\.npy: expected an \.npy file, found none"):
        read_stack(path, Request(unit="mm", times=tmp_path / "none.npy"))
    with pytest.raises(ConfigError, match=r"expected a stack, one \.npy, \.h5, \.nc or Zarr"):
        read_stack(tmp_path / "elsewhere", Request(unit="mm"))
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds its times itself"):
        read_stack(tmp_path / "a.h5", Request(unit="mm", times=times))
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"expected a stack ending in"):
        read_stack(tmp_path / "a.txt", Request(unit="mm"))


# Units


def with_units(path: Path, units: object) -> Path:
    with h5py.File(path, "w") as file:
        file["frames"], file["times"] = FRAMES, TIMES.astype(np.int64)
        if units is not None:
            file["frames"].attrs["units"] = units
    return path


@pytest.mark.parametrize(
    ("units", "unit", "factor"),
    [
        ("kg m-2 s-1", "mm_h", 3600),
        ("mm s-1", "mm_h", 3600),
        ("m s-1", "mm_h", 3.6e6),
        ("in/hr", "mm_h", 25.4),
        ("mm/day", "mm_h", 1 / 24),
        ("mm/5min", "mm_h", 12),
        ("0.1 mm/h", "mm_h", 0.1),
        (np.bytes_("mm h-1"), "mm_h", 1),
        (np.bytes_("mm·h-1".encode("latin-1")), "mm_h", 1),
        (np.array([b"kg m-2"]), "mm", 1),
        (np.array(list("mm"), dtype="S1"), "mm", 1),
        ("dbz", "dBZ", 1),
    ],
)
def test_the_units_of_the_file_are_converted(
    tmp_path: Path, units: object, unit: str, factor: float
):
    (source,) = read_stack(with_units(tmp_path / "a.h5", units), Request())
    field = source.read(2)
    assert field.unit == unit
    np.testing.assert_allclose(field.values, FRAMES[2].astype(np.float64) * factor)
    assert (factor == 1) != any("stack: multiplied by" in note for note in source.notes)


@pytest.mark.parametrize("units", ["K", "m2 s-2", "dB", "percent"])
@pytest.mark.parametrize("unit", [None, "mm_h"])
def test_units_that_are_no_rain_are_refused(tmp_path: Path, units: str, unit: str | None):
    message = rf"a\.h5: /frames: expected dBZ .*found '{units}' as its units; mend the attribute"
    with pytest.raises(DataError, match=message):
        read_stack(with_units(tmp_path / "a.h5", units), Request(unit=unit))


@pytest.mark.parametrize("unit", ["mm_h", "mm/h", "dBZ", "mm"])
def test_a_unit_that_contradicts_the_file_is_an_error(tmp_path: Path, unit: str):
    with pytest.raises(DataError, match=f"states the units 'kg m-2 s-1', but --unit says {unit}"):
        read_stack(with_units(tmp_path / "a.h5", "kg m-2 s-1"), Request(unit=unit))


@pytest.mark.parametrize("unit", ["mm_h", "mm/h", "mm h-1", "kg m-2 h-1"])
def test_another_spelling_is_no_contradiction(tmp_path: Path, unit: str):
    (source,) = read_stack(with_units(tmp_path / "a.h5", "mm/h"), Request(unit=unit))
    assert np.array_equal(source.read(1).values, FRAMES[1])


@pytest.mark.parametrize("units", [None, "1", "", h5py.Empty("S1")], ids=["no", "1", "''", "empty"])
def test_a_file_that_states_no_unit_needs_one(tmp_path: Path, units: object):
    path = with_units(tmp_path / "a.h5", units)
    with pytest.raises(ConfigError, match=r"--unit: --importer stack needs .*, since .*a.h5"):
        read_stack(path, Request())
    (source,) = read_stack(path, Request(unit="in/hr"))
    np.testing.assert_allclose(source.read(1).values, FRAMES[1] * 25.4)


def test_bounds_of_the_times_end_a_sum_and_say_over_how_long(tmp_path: Path):
    starts = TIMES.astype(np.int64)
    with h5py.File(with_units(tmp_path / "a.h5", "mm"), "a") as file:
        file["times"].attrs["bounds"] = "time_bounds"
        file["times"].attrs["units"] = "minutes since 1970-01-01"
        file["time_bounds"] = np.stack([starts, starts + 5], axis=1)
    (source,) = read_stack(tmp_path / "a.h5", Request())
    assert np.array_equal(source.times, TIMES + np.timedelta64(5, "m"))
    assert source.read(0).accumulation_minutes == 5 and source.stated_step == 5
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["frames"].attrs["units"] = "mm/h"
    (source,) = read_stack(tmp_path / "a.h5", Request())
    assert np.array_equal(source.times, TIMES)
    assert source.read(0).accumulation_minutes is None
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["time_bounds"][1] = [9, 9]
    with pytest.raises(DataError, match=r"expected intervals in /time_bounds .*ion 1"):
        read_stack(tmp_path / "a.h5", Request())


# What it is, the content says


def test_a_stack_is_known_by_its_content(tmp_path: Path):
    path, times = npy(tmp_path, FRAMES, TIMES)
    for renamed in (path.rename(tmp_path / "rain"), times.rename(tmp_path / "times.dat")):
        assert renamed.exists()
    request = Request(unit="mm", times=tmp_path / "times.dat")
    assert len(read_stack(tmp_path / "rain", request)[0]) == 4
    hdf5 = with_units(tmp_path / "a.h5", "mm").rename(tmp_path / "stack")
    assert len(read_stack(hdf5, Request())[0]) == 4
    (tmp_path / "classic.nc").write_bytes(b"CDF\x01" + bytes(40))
    with pytest.raises(ConfigError, match=r"--datasets: .*classic\.nc: expected one array"):
        read_stack(tmp_path / "classic.nc", Request())
