"""ODIM composites: gain and offset, undetect is dry, nodata is a mask, and times by quantity."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from radar_files import write_odim

from nowcast.core.errors import DataError
from nowcast.precipitation.importers import field as field_module
from nowcast.precipitation.importers.field import NO_GRID, Field, Request
from nowcast.precipitation.importers.odim import read_odim

RAW = np.array([[0, 1, 64], [255, 104, 254]], dtype=np.uint8)


def read(path: Path, unit: str = "dBZ") -> Field:
    (source,) = read_odim(path, Request(unit=unit))
    return source.read(0)


def test_gain_offset_undetect_and_nodata(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    field = read(tmp_path / "a.h5")
    expected = [[-np.inf, -31.5, 0], [np.nan, 20, 95]]
    assert np.array_equal(field.values, expected, equal_nan=True)
    assert field.unit == "dBZ" and field.accumulation_minutes is None


def test_undetect_is_0_mm_h_whatever_the_offset(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW, quantity="RATE", gain=0.1, offset=0.5)
    assert read(tmp_path / "a.h5", "mm_h").values[0, 0] == 0
    assert read(tmp_path / "a.h5", "mm_h").values[0, 1] == pytest.approx(0.6)


def test_nodata_wins_where_both_are_one_number(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW, nodata=0)
    assert np.isnan(read(tmp_path / "a.h5").values[0, 0])


def test_nan_may_be_the_code_for_nodata(tmp_path: Path):
    values = np.array([[0.0, np.nan, 3.5]])
    write_odim(
        tmp_path / "a.h5", values, quantity="RATE", gain=1, offset=0, nodata=np.nan, undetect=0
    )
    assert np.array_equal(read(tmp_path / "a.h5", "mm_h").values, values, equal_nan=True)


def test_a_sum_is_dated_by_its_end_and_a_rate_by_its_nominal_time(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW, quantity="ACRR", time="235500", minutes=15)
    field = read(tmp_path / "a.h5", "mm")
    assert field.moment == np.datetime64("2020-06-02T00:10", "m")
    assert field.accumulation_minutes == 15
    write_odim(tmp_path / "a.h5", RAW, quantity="RATE", time="235500", minutes=15)
    assert read(tmp_path / "a.h5", "mm_h").moment == np.datetime64("2020-06-01T23:55", "m")


@pytest.mark.parametrize(("time", "minute"), [("045959", 300), ("050029", 300), ("050030", 301)])
def test_seconds_go_to_the_nearest_minute(tmp_path: Path, time: str, minute: int):
    write_odim(tmp_path / "a.h5", RAW, time=time)
    assert read(tmp_path / "a.h5").moment == np.datetime64("2020-06-01", "m") + minute


def test_corrected_reflectivity_is_taken_before_uncorrected(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.copy("dataset1", "dataset2")
        file["dataset2/data1/what"].attrs["quantity"] = np.bytes_("TH")
        file["dataset2/data1/data"][...] = 9
    assert read(tmp_path / "a.h5").values[0, 2] == 0
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["dataset2/data1/what"].attrs["quantity"] = np.bytes_("DBZH")
    with pytest.raises(DataError, match=r"expected one field in dBZ, found 2 \(DBZH, QIND, DBZH"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("unit", "changed", "message"),
    [
        ("mm_h", {}, "expected a quantity in mm_h as --unit says, found DBZH.*give --unit dBZ"),
        ("dBZ", {"quantity": "VRADH"}, "found VRADH, QIND; it holds no rain"),
        ("dBZ", {"made": "PVOL"}, "expected an ODIM object COMP or IMAGE, found PVOL"),
        ("mm", {"quantity": "ACRR", "minutes": -5}, "the sum ends at .*not after it starts"),
        ("dBZ", {"gain": np.nan}, "expected a number in /dataset1/data1/what/gain, found"),
    ],
)
def test_what_contradicts_is_an_error(tmp_path: Path, unit: str, changed: dict, message: str):
    write_odim(tmp_path / "a.h5", RAW, **changed)
    with pytest.raises(DataError, match=rf"a\.h5: .*{message}"):
        read(tmp_path / "a.h5", unit)


def test_a_date_that_is_none_is_an_error(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["what"].attrs["date"] = np.bytes_("20200631")
    with pytest.raises(DataError, match="expected a date YYYYMMDD and a time HHmmss, found"):
        read(tmp_path / "a.h5")


def test_another_size_than_the_file_states_is_an_error(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["where"].attrs["ysize"] = 3
    with pytest.raises(DataError, match="expected an image of 3x3 as the file says, found 2x3"):
        read(tmp_path / "a.h5")


def test_the_grid_spans_the_outer_corners(tmp_path: Path):
    pytest.importorskip("pyproj")
    write_odim(tmp_path / "a.h5", RAW, projection="+proj=longlat +ellps=WGS84")
    grid = read(tmp_path / "a.h5").grid
    assert (grid.x_west, grid.y_north) == pytest.approx((9, 56))
    assert (grid.pixel_x, grid.pixel_y) == pytest.approx((2 / 3, 1))


def test_without_pyproj_there_is_no_grid_and_a_note_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(field_module.importlib, "import_module", absent)
    write_odim(tmp_path / "a.h5", RAW)
    (source,) = read_odim(tmp_path / "a.h5", Request(unit="dBZ"))
    assert source.read(0).grid is None
    assert NO_GRID in source.notes


def test_a_composite_of_meteoswiss(pyart_files: Path):
    field = read(pyart_files / "RFO_example_h5_grid.h5", "mm_h")
    assert field.values.shape == (640, 710)
    assert field.moment == np.datetime64("2024-02-27T09:50", "m")
    with h5py.File(pyart_files / "RFO_example_h5_grid.h5") as file:
        raw = file["dataset1/data1/data"][...]
    assert np.array_equal(field.values, raw, equal_nan=True)
    with pytest.raises(DataError, match="found PVOL; make a composite"):
        read(pyart_files / "example_radar.polar.fikor.h5")
