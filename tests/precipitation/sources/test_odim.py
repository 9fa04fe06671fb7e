"""ODIM composites: gain and offset, undetect is dry, nodata is a mask, and times by quantity."""

from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.sources.field import Field, Request
from nowcast.precipitation.sources.odim.reader import read_odim
from tests.radar_files import write_odim

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
    assert field.time == np.datetime64("2020-06-02T00:10", "m")
    assert field.accumulation_minutes == 15
    write_odim(tmp_path / "a.h5", RAW, quantity="RATE", time="235500", minutes=15)
    assert read(tmp_path / "a.h5", "mm_h").time == np.datetime64("2020-06-01T23:55", "m")


@pytest.mark.parametrize(("time", "minute"), [("045959", 300), ("050029", 300), ("050030", 301)])
def test_seconds_go_to_the_nearest_minute(tmp_path: Path, time: str, minute: int):
    write_odim(tmp_path / "a.h5", RAW, time=time)
    assert read(tmp_path / "a.h5").time == np.datetime64("2020-06-01", "m") + minute


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
        (
            "mm_h",
            {},
            "expected a quantity in mm_h as --unit or .* says, found DBZH.*give --unit dBZ",
        ),
        ("dBZ", {"quantity": "VRADH"}, "found VRADH, QIND; it holds no rain"),
        (
            "dBZ",
            {"made": "PVOL"},
            "COMP or IMAGE or CVOL, found PVOL, a polar .*xradar and wradlib",
        ),
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
    write_odim(tmp_path / "a.h5", RAW, projection="+proj=longlat +ellps=WGS84")
    grid = read(tmp_path / "a.h5").grid
    assert (grid.x_west, grid.y_north) == pytest.approx((9, 56))
    assert (grid.pixel_x, grid.pixel_y) == pytest.approx((2 / 3, 1))


@pytest.mark.parametrize("projection", ["+proj=foo +lat_0=1", "nonsense"])
def test_a_projection_that_proj_does_not_know_is_said_with_its_text(
    tmp_path: Path, projection: str
):
    write_odim(tmp_path / "a.h5", RAW, projection=projection)
    (source,) = read_odim(tmp_path / "a.h5", Request(unit="dBZ"))
    assert source.read(0).grid is None
    (note,) = [note for note in source.notes if note.startswith("grid not stated")]
    assert f"PROJ does not know the projection {projection!r}" in note
    assert "Invalid projection" in note and "pyproj is needed" not in note


def test_a_composite_of_meteoswiss(pyart_files: Path):
    field = read(pyart_files / "RFO_example_h5_grid.h5", "mm_h")
    assert field.values.shape == (640, 710)
    assert field.time == np.datetime64("2024-02-27T09:50", "m")
    with h5py.File(pyart_files / "RFO_example_h5_grid.h5") as file:
        raw = file["dataset1/data1/data"][...]
    assert np.array_equal(field.values, raw, equal_nan=True)
    with pytest.raises(DataError, match=r"found PVOL, a polar volume; .*make a composite"):
        read(pyart_files / "example_radar.polar.fikor.h5")


# Times as they are sent


def set_what(path: Path, group: str = "what", **attributes: object) -> None:
    with h5py.File(path, "a") as file:
        for key, value in attributes.items():
            if value is None:
                del file[group].attrs[key]
            else:
                file[group].attrs[key] = value


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20200601", "0440", "2020-06-01T04:40"),
        ("20200601", "240000", "2020-06-02T00:00"),
        ("20200601", "2400", "2020-06-02T00:00"),
        ("20200630", "235960", "2020-07-01T00:00"),
        ("20200601", "12:05:00", "2020-06-01T12:05"),
        ("20200601", "12:05", "2020-06-01T12:05"),
        ("2020-06-01", "120500", "2020-06-01T12:05"),
        ("2020/06/01", "12:05:00Z", "2020-06-01T12:05"),
        ("20200601", "120500.000", "2020-06-01T12:05"),
        (np.array([b"20200601"]), np.array(list("120500"), "S1"), "2020-06-01T12:05"),
    ],
)
def test_times_in_the_spellings_that_are_sent(
    tmp_path: Path, date: object, time: object, expected: str
):
    write_odim(tmp_path / "a.h5", RAW)
    set_what(tmp_path / "a.h5", date=date, time=time)
    assert str(read(tmp_path / "a.h5").time) == expected


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("20200601", "240100"),
        ("20200601", "250000"),
        ("20200601", "126000"),
        ("20200601", "120061"),
        ("20200601", "12"),
        ("20200601", "12:0500"),
        ("2020-0601", "120500"),
        ("010620", "120500"),
        ("20200631", "120500"),
        ("20200601", "noon"),
        ("20200601", ""),
    ],
)
def test_times_that_are_none_are_errors(tmp_path: Path, date: str, time: str):
    write_odim(tmp_path / "a.h5", RAW)
    set_what(tmp_path / "a.h5", date=date, time=time)
    with pytest.raises(DataError, match="expected a date YYYYMMDD and a time HHmmss, found"):
        read(tmp_path / "a.h5")


def test_a_sum_whose_start_is_not_stated_leaves_its_minutes_to_the_user(tmp_path: Path):
    for key in ("startdate", "starttime"):
        write_odim(tmp_path / "a.h5", RAW, quantity="ACRR")
        set_what(tmp_path / "a.h5", "dataset1/what", **{key: None})
        field = read(tmp_path / "a.h5", "mm")
        assert str(field.time) == "2020-06-01T12:05" and field.accumulation_minutes is None
    write_odim(tmp_path / "a.h5", RAW, quantity="ACRR")
    set_what(tmp_path / "a.h5", "dataset1/what", endtime=None)
    with pytest.raises(DataError, match="expected the attributes enddate and endtime"):
        read(tmp_path / "a.h5", "mm")


# What groups, quantities and objects


@pytest.mark.parametrize("level", ["dataset1/data1", "dataset1", ""])
def test_a_what_group_holds_for_all_below_it(tmp_path: Path, level: str):
    write_odim(tmp_path / "a.h5", RAW)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["dataset1/data2"]
        own = dict(file["dataset1/data1/what"].attrs)
        del file["dataset1/data1/what"]
        for key, value in own.items():
            file.require_group(f"{level}/what").attrs[key] = value
    assert read(tmp_path / "a.h5").values[1, 1] == 20


@pytest.mark.parametrize(
    ("quantity", "unit"),
    [
        ("DBZH", "dBZ"),
        ("DBZHC", "dBZ"),
        ("TH", "dBZ"),
        ("TOTAL_POWER_HORIZONTAL", "dBZ"),
        ("DBZV", "dBZ"),
        ("RATE", "mm_h"),
        ("ACRR", "mm"),
    ],
)
def test_the_quantity_states_the_unit(tmp_path: Path, quantity: str, unit: str):
    write_odim(tmp_path / "a.h5", RAW, quantity=quantity)
    (source,) = read_odim(tmp_path / "a.h5", Request())
    assert source.read(0).unit == unit
    assert any(f"ODIM: {quantity};" in note for note in source.notes)


def test_several_units_in_one_file_are_the_users_choice(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.copy("dataset1", "dataset2")
        file["dataset2/data1/what"].attrs["quantity"] = np.bytes_("RATE")
        file["dataset2/data1/data"][...] = 9
    with pytest.raises(ConfigError, match=r"--unit: .*a\.h5 holds dBZ and mm_h; say which"):
        read_odim(tmp_path / "a.h5", Request())
    assert read(tmp_path / "a.h5").values[0, 2] == 0
    assert read(tmp_path / "a.h5", "mm/h").values[0, 2] == 9 * 0.5 - 32


def test_what_is_not_stated_of_the_packing(tmp_path: Path):
    floats = np.array([[0.0, np.nan, 3.5]])
    for key in ("gain", "offset", "nodata", "undetect"):
        write_odim(tmp_path / "a.h5", floats, quantity="RATE", gain=1, offset=0, nodata=-1)
        set_what(tmp_path / "a.h5", "dataset1/data1/what", **{key: None})
        assert np.array_equal(read(tmp_path / "a.h5", "mm_h").values, floats, equal_nan=True)
        write_odim(tmp_path / "b.h5", RAW)
        set_what(tmp_path / "b.h5", "dataset1/data1/what", **{key: None})
        if key == "undetect":
            assert read(tmp_path / "b.h5").values[0, 0] == -32
            continue
        with pytest.raises(DataError, match=rf"b\.h5: expected the attribute {key} in a what"):
            read(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("made", "what"),
    [("PVOL", "a polar volume; xradar and wradlib"), ("SCAN", "a polar scan; xradar"),
     ("VP", "a vertical profile"), ("XYZ", "found XYZ; make a composite")],
)  # fmt: skip
def test_an_object_that_is_no_map_is_named(tmp_path: Path, made: str, what: str):
    write_odim(tmp_path / "a.h5", RAW, made=made)
    with pytest.raises(DataError, match=rf"found {made}.*{what}|{what}"):
        read(tmp_path / "a.h5")


def test_a_cartesian_volume_is_on_a_grid(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW, made="CVOL")
    assert read(tmp_path / "a.h5").values[1, 1] == 20
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["dataset1/what"].attrs["product"] = np.bytes_("CAPPI")
        file["dataset1/what"].attrs["prodpar"] = 500.0
        file.copy("dataset1", "dataset2")
        file["dataset2/what"].attrs["prodpar"] = 1000.0
    message = r"found 2 .* of a Cartesian volume at CAPPI 500, CAPPI 1000; .* write one height out"
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("projection", "pixel_x"),
    [("+proj=longlat +ellps=WGS84", 20 / 3), ("+proj=merc +lon_0=0 +ellps=WGS84", 742_130)],
)
def test_a_grid_over_180_east(tmp_path: Path, projection: str, pixel_x: float):
    write_odim(tmp_path / "a.h5", RAW, projection=projection)
    set_what(tmp_path / "a.h5", "where", LL_lon=170.0, UR_lon=-170.0)
    grid = read(tmp_path / "a.h5").grid
    assert grid.pixel_x == pytest.approx(pixel_x, rel=1e-3) and grid.pixel_y > 0
    x, _ = pyproj.Proj(projection)(170, 54)
    assert grid.x_west == pytest.approx(x)


def test_corners_the_wrong_way_round_are_an_error(tmp_path: Path):
    write_odim(tmp_path / "a.h5", RAW)
    set_what(tmp_path / "a.h5", "where", LL_lat=56.0, UR_lat=54.0)
    with pytest.raises(DataError, match="expected the corner UR north-east of LL"):
        read(tmp_path / "a.h5")


DE1200 = (  # DWD's grid of today's composites, corners as DWD gives them
    "+proj=stere +lat_ts=60 +lat_0=90 +lon_0=10 +x_0=543196.83521776402 +y_0=3622588.8619310018 "
    "+units=m +a=6378137 +b=6356752.3142451802 +no_defs"
)


def test_dwds_grid_of_1200_rows_has_pixels_of_a_kilometre(tmp_path: Path):
    path = tmp_path / "de1200.h5"
    write_odim(path, np.zeros((1200, 1100), np.uint8), projection=DE1200, compression="gzip")
    with h5py.File(path, "a") as file:
        where = file["where"].attrs
        where["LL_lon"], where["LL_lat"] = 3.566994635, 45.69642538
        where["UR_lon"], where["UR_lat"] = 18.73161645, 55.84543856
    grid = read_odim(path, Request())[0].read(0).grid
    assert grid is not None
    assert grid.pixel_x == pytest.approx(1000, abs=0.01)
    assert grid.pixel_y == pytest.approx(1000, abs=0.01)
    assert (grid.x_west, grid.y_north) == pytest.approx((0, 0), abs=600)
