"""Packed stacks: what netCDF's attributes say of missing data, unsigned numbers, ranges and flags.

The oracles are xarray and netCDF4, each where it honours the attribute.
"""

from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.stack.reader import read_stack
from nowcast.precipitation.units import Calibration

NAN = np.nan
REQUEST = Request(datasets=("rain", "time"))
# 0.5 dBZ a step from -32 on, as radars pack it: 255 would be 95.5 dBZ.
DBZ = {"scale_factor": 0.5, "add_offset": -32.0, "units": "dBZ"}


def write(path: Path, raw: Any, times: int = 1, **attributes: Any) -> Path:
    """A netCDF-4 file of one field, repeated, by h5py; attributes as they are given."""
    raw = np.asarray(raw)
    with h5py.File(path, "w") as file:
        file["rain"] = np.repeat(raw[None], times, axis=0)
        file["time"] = 5 * np.arange(times)
        file["time"].attrs["units"] = "minutes since 2020-06-01"
        for axis, name in enumerate(("time", "row", "column")):
            if name != "time":
                file[name] = np.arange(raw.shape[axis - 1])
            file[name].make_scale(name)
            file["rain"].dims[axis].attach_scale(file[name])
        for key, value in attributes.items():
            file["rain"].attrs[key] = value
    return path


def values(path: Path, unit: str | None = None) -> np.ndarray:
    (source,) = read_stack(path, Request(unit=unit, datasets=("rain", "time")))
    return source.read(0).values


BYTES = np.array([[0, 1, 64, 104, 254, 255]], np.uint8)


@pytest.mark.parametrize("key", ["missing_value", "_FillValue"])
@pytest.mark.parametrize(
    "code",
    [
        np.uint8(255),
        np.array([255], np.uint8),
        np.int16(255),
        np.float64(255),
        "255",
        np.bytes_("255"),
    ],
    ids=["number", "array", "int16", "float64", "text", "bytes"],
)
def test_no_data_is_no_hail(tmp_path: Path, key: str, code: Any):
    path = write(tmp_path / "a.nc", BYTES, **DBZ, **{key: code})
    assert np.array_equal(values(path), [[-32, -31.5, 0, 20, 95, NAN]], equal_nan=True)


def test_several_missing_values_and_a_fill_value_are_all_no_data(tmp_path: Path):
    path = write(
        tmp_path / "a.nc",
        BYTES,
        **DBZ,
        _FillValue=np.uint8(255),
        missing_value=np.array([254, 1], np.uint8),
    )
    assert np.array_equal(values(path), [[-32, NAN, 0, 20, NAN, NAN]], equal_nan=True)


def test_a_missing_value_that_no_raw_number_is_is_one_of_the_values(tmp_path: Path):
    path = write(tmp_path / "a.nc", BYTES, **DBZ, missing_value=95.5)
    assert np.array_equal(values(path), [[-32, -31.5, 0, 20, 95, NAN]], equal_nan=True)


def test_a_missing_value_in_double_precision_is_met_in_single(tmp_path: Path):
    path = write(tmp_path / "a.nc", np.float32([[1, -9999.9]]), units="mm/h", missing_value=-9999.9)
    assert np.array_equal(values(path), [[1, NAN]], equal_nan=True)


@pytest.mark.parametrize("stated", ["true", "True", np.bytes_("true"), np.array([b"true"])])
def test_signed_bytes_that_are_unsigned_keep_their_strong_rain(tmp_path: Path, stated: Any):
    path = write(
        tmp_path / "a.nc", BYTES.view(np.int8), **DBZ, _Unsigned=stated, _FillValue=np.int8(-1)
    )
    assert np.array_equal(values(path), [[-32, -31.5, 0, 20, 95, NAN]], equal_nan=True)


def test_unsigned_words_that_are_signed(tmp_path: Path):
    raw = np.array([[-5, 3, -99]], np.int16).view(np.uint16)
    path = write(
        tmp_path / "a.nc", raw, units="dBZ", _Unsigned="false", missing_value=np.int16(-99)
    )
    assert np.array_equal(values(path), [[-5, 3, NAN]], equal_nan=True)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"valid_min": np.uint8(1), "valid_max": np.uint8(250)}, [NAN, -31.5, 0, 20, NAN, NAN]),
        ({"valid_range": np.array([64, 254], np.uint8)}, [NAN, NAN, 0, 20, 95, NAN]),
        ({"valid_range": np.array([-32.0, 95.0])}, [-32, -31.5, 0, 20, 95, NAN]),
        ({"valid_max": 94.9}, [-32, -31.5, 0, 20, NAN, NAN]),
    ],
    ids=["of raw numbers", "a pair", "of values", "one of values"],
)
def test_numbers_outside_the_valid_range_are_no_data(
    tmp_path: Path, attributes: dict, expected: list
):
    path = write(tmp_path / "a.nc", BYTES, **DBZ, **attributes)
    assert np.array_equal(values(path), [expected], equal_nan=True)


def test_the_valid_range_of_unsigned_bytes_is_written_as_signed_ones(tmp_path: Path):
    path = write(
        tmp_path / "a.nc",
        BYTES.view(np.int8),
        **DBZ,
        _Unsigned="true",
        valid_range=np.array([1, -2], np.int8),
    )
    assert np.array_equal(values(path), [[NAN, -31.5, 0, 20, 95, NAN]], equal_nan=True)


def test_a_packed_stack_says_dry_by_undetect(tmp_path: Path):
    path = write(tmp_path / "a.nc", BYTES, **DBZ, undetect=np.uint8(0), missing_value=np.uint8(255))
    assert np.array_equal(values(path), [[-np.inf, -31.5, 0, 20, 95, NAN]], equal_nan=True)
    path = write(
        tmp_path / "b.nc", BYTES, units="mm/h", scale_factor=0.1, add_offset=0.5, undetect=0
    )
    assert values(path)[0, 0] == 0
    assert values(path)[0, 1] == pytest.approx(0.6)


def test_flags_say_dry_and_no_data(tmp_path: Path):
    flags = {
        "flag_values": np.array([0, 255], np.uint8),
        "flag_meanings": "no_precipitation missing_data",
        "valid_range": np.array([1, 254], np.uint8),
    }
    path = write(tmp_path / "a.nc", BYTES, **DBZ, **flags)
    assert np.array_equal(values(path), [[-np.inf, -31.5, 0, 20, 95, NAN]], equal_nan=True)


def test_minus_infinity_is_dry_whatever_the_range(tmp_path: Path):
    path = write(tmp_path / "a.nc", np.float32([[-np.inf, 5, -99]]), units="dBZ", valid_min=-32.0)
    assert np.array_equal(values(path), [[-np.inf, 5, NAN]], equal_nan=True)


def test_the_frames_of_a_packed_stack(tmp_path: Path):
    """To the pixel: dry is level 0 and used, no data is masked."""
    path = write(
        tmp_path / "a.nc", BYTES, times=2, **DBZ, undetect=np.uint8(0), missing_value=np.uint8(255)
    )
    (made,) = convert(path, tmp_path / "out", "stack", REQUEST, Target(Calibration(200.0, 1.6)))
    archive = Archive(made.root)
    assert archive.frame(archive.moments[1]).tolist() == [[0, 0, 36, 109, 255, 0]]
    assert archive.mask(archive.moments[1]).tolist() == [[True] * 5 + [False]]


def test_what_was_never_written_is_no_data(tmp_path: Path):
    """netCDF's own fill value, which no attribute states."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in (("time", 2), ("row", 1), ("column", 3)):
            file.createDimension(name, size)
        rain = file.createVariable("rain", "i2", ("time", "row", "column"))
        rain.set_auto_scale(False)
        rain.scale_factor, rain.units = 0.01, "mm/h"
        rain[0, 0, 1:] = [500, 0]
        time = file.createVariable("time", "i4", ("time",))
        time.units, time[:] = "minutes since 2020-06-01", [0, 5]
    (source,) = read_stack(tmp_path / "a.nc", REQUEST)
    assert np.array_equal(source.read(0).values, [[NAN, 5, 0]], equal_nan=True)
    assert np.isnan(source.read(1).values).all()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"missing_value": "none at all"}, "expected numbers in /rain/missing_value"),
        ({"_Unsigned": "perhaps"}, "expected true or false in /rain/_Unsigned, found 'perhaps'"),
        ({"valid_range": np.array([9, 1], np.uint8)}, "expected a valid range .* found 9 to 1"),
        ({"valid_range": np.array([9], np.uint8)}, "expected two numbers in /rain/valid_range"),
        ({"scale_factor": 0.0}, "expected a scale_factor of /rain other than 0"),
        (
            {"flag_values": np.array([0, 1], np.uint8), "flag_meanings": "dry"},
            "expected a meaning for each of the 2 flag_values of /rain, found 1",
        ),
        (
            {"flag_values": np.array([0], np.uint8), "flag_meanings": "snow"},
            r"expected flag_meanings .*\(missing.*\) or dry \(dry.*\), found snow",
        ),
    ],
)
def test_attributes_that_cannot_be_are_errors(tmp_path: Path, attributes: dict, message: str):
    path = write(tmp_path / "a.nc", BYTES, **{"units": "mm/h", **attributes})
    with pytest.raises(DataError, match=rf"a\.nc: .*{message}"):
        values(path)


CASES: list[tuple[np.ndarray, dict[str, Any]]] = [
    (BYTES, {"_FillValue": np.uint8(255), "scale_factor": 0.5, "add_offset": -32.0}),
    (BYTES, {"missing_value": np.uint8(254), "scale_factor": 0.5, "add_offset": -32.0}),
    (BYTES.view(np.int8), {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.5}),
    (np.int16([[-9, 0, 7]]), {"_FillValue": np.int16(-9), "scale_factor": np.float32(0.1)}),
    (np.int32([[-9, 0, 7]]), {"missing_value": np.int32(-9), "add_offset": 2.0}),
    (np.float32([[NAN, 0.3, 1e20]]), {"_FillValue": np.float32(1e20)}),
    (np.float64([[0.1, 7, -1]]), {"missing_value": -1.0, "scale_factor": 3.0}),
]


@pytest.mark.parametrize(("raw", "attributes"), CASES)
def test_xarray_reads_the_same(tmp_path: Path, raw: np.ndarray, attributes: dict):
    path = write(tmp_path / "a.nc", raw, units="dBZ", **attributes)
    with xarray.open_dataset(path, engine="h5netcdf") as there:
        expected = there["rain"].to_numpy()[0]
    np.testing.assert_allclose(values(path), expected, rtol=1e-6)
    assert np.isnan(expected).any()


@pytest.mark.parametrize(("raw", "attributes"), CASES)
@pytest.mark.parametrize("ranged", [{}, {"valid_range": [1, 100]}])
def test_netcdf4_reads_the_same(tmp_path: Path, raw: np.ndarray, attributes: dict, ranged: dict):
    ranged = {key: np.array(value, raw.dtype) for key, value in ranged.items()}
    path = write(tmp_path / "a.nc", raw, units="dBZ", **attributes, **ranged)
    with netCDF4.Dataset(path) as there:
        expected = np.ma.filled(there["rain"][0].astype(np.float64), NAN)
    np.testing.assert_allclose(values(path), expected, rtol=1e-6)
