"""KNMI's HDF5: real files against what h5py alone reads off them, and every field that can lie."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.sources.agencies.knmi import calibration, read_knmi
from nowcast.precipitation.sources.field import Field, Request
from tests.radar_files import write_knmi

RAW = np.array([[0, 1, 250], [65535, 65534, 7]], dtype=np.uint16)


def read(path: Path, unit: str = "mm") -> Field:
    (source,) = read_knmi(path, Request(unit=unit))
    return source.read(0)


def test_the_originals_hold_what_h5py_reads_off_them(radar_dev: Path):
    folder = radar_dev / "knmi_hdf5_originals"
    expected = json.loads((folder / "expected.json").read_text())
    (source,) = read_knmi(folder, Request(unit="mm"))
    assert len(source) == len(expected) == 12
    for position, known in enumerate(expected):
        field = source.read(position)
        assert source.where(position).endswith(known["file"])
        raw = np.rint(field.values / 0.01)
        seen = ~np.isnan(raw)
        assert list(field.values.shape) == known["shape"]
        assert seen.sum() == known["valid_pixels"]
        assert raw[seen].sum() == known["raw_sum"]
        assert raw[seen].max() == known["raw_max"]
        assert (raw[seen] > 0).sum() == known["wet_pixels"]
        hour, minute = known["end"].split(";")[1].split(":")[:2]
        assert field.time == np.datetime64(f"2010-08-26T{hour}:{minute}", "m")
        assert source.times[position] == field.time
        assert field.accumulation_minutes == 5
    grid = source.read(0).grid
    assert (grid.x_west, grid.y_north, grid.pixel_x, grid.pixel_y) == (0, -3650, 1, 1)
    assert grid.projection.startswith("+proj=stere +lat_0=90")


def test_missing_and_out_of_image_are_no_data(tmp_path: Path):
    write_knmi(tmp_path / "a.h5", RAW)
    np.testing.assert_allclose(
        read(tmp_path / "a.h5").values, [[0, 0.01, 2.5], [np.nan, np.nan, 0.07]]
    )


def test_pixel_0_of_a_reflectivity_image_is_dry(tmp_path: Path):
    raw = np.array([[0, 1, 255, 104]], dtype=np.uint8)
    write_knmi(
        tmp_path / "a.h5",
        raw,
        parameter="REFLECTIVITY_[DBZ]",
        formula="GEO = 0.500000 * PV + -32.000000",
        missing=0,
        outside=255,
    )
    field = read(tmp_path / "a.h5", "dBZ")
    assert np.array_equal(field.values, [[-np.inf, -31.5, np.nan, 20]], equal_nan=True)
    assert field.accumulation_minutes is None
    (source,) = read_knmi(tmp_path / "a.h5", Request(unit="dBZ"))
    assert any("read as dry" in note for note in source.notes)


def test_rows_that_grow_northwards_are_turned(tmp_path: Path):
    write_knmi(tmp_path / "a.h5", RAW, pixel_y=1.0)
    field = read(tmp_path / "a.h5")
    assert field.values[1, 1] == 0.01
    assert field.grid.y_north == 3652


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sampled_from(["{}", "{:e}", "{:.6f}"]))
def test_a_formula_is_read_as_written(gain: float, offset: float, form: str):
    written = f"GEO = {form.format(gain)} * PV + {form.format(offset)}"
    assert calibration(written) == (float(form.format(gain)), float(form.format(offset)))


@pytest.mark.parametrize("formula", ["GEO=PV**2", "__import__('os')", "GEO=0.1*PV+1+1", "", "X=1"])
def test_a_formula_of_another_form_is_an_error(tmp_path: Path, formula: str):
    write_knmi(tmp_path / "a.h5", RAW, formula=formula)
    with pytest.raises(DataError, match=r"a\.h5: expected a formula GEO=a\*PV\+b, found"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("unit", "changed", "message"),
    [
        (
            "dBZ",
            {},
            r"expected an image in dBZ as --unit or .* says, found ACCUM.*; give --unit mm",
        ),
        ("mm", {"parameter": "X_[M/S]"}, "found X_.*; it is no rain product"),
        ("mm", {"images": 3}, "expected one image in mm, found 3; a forecast file"),
        ("mm", {"start": "26-AUG-2010;05:05:00.000"}, "ends at .*05:00, before it starts"),
        ("mm", {"start": "26-AUG-2010;05:00:00.000"}, "expected a sum of rain over some minutes"),
        ("mm", {"end": "26-MAI-2010;05:00:00.000"}, "expected a time like .*found '26-MAI"),
        ("mm", {"end": "31-FEB-2010;05:00:00.000"}, "expected a time like .*found '31-FEB"),
        ("mm", {"end": "26-AUG-0010;05:00:00.000"}, "expected a time of our days"),
    ],
)
def test_what_contradicts_is_an_error(tmp_path: Path, unit: str, changed: dict, message: str):
    write_knmi(tmp_path / "a.h5", RAW, **changed)
    with pytest.raises(DataError, match=rf"a\.h5: .*{message}"):
        read(tmp_path / "a.h5", unit)


def test_two_files_of_one_time_are_an_error_that_names_both(tmp_path: Path):
    for name in ("a.h5", "b.h5"):
        write_knmi(tmp_path / name, RAW)
    with pytest.raises(DataError, match=r"a\.h5 and .*b\.h5: both hold the time"):
        read_knmi(tmp_path, Request(unit="mm"))


def test_files_come_in_order_of_their_own_time(tmp_path: Path):
    times = ["26-AUG-2010;05:10:00.000", "26-AUG-2010;05:00:00.000", "26-AUG-2010;05:05:00.000"]
    for name, end in zip("abc", times, strict=True):
        write_knmi(tmp_path / f"{name}.h5", RAW, end=end)
    (source,) = read_knmi(tmp_path, Request(unit="mm"))
    assert [field.time for field in source] == list(source.times)
    assert [Path(source.where(n)).name for n in range(3)] == ["b.h5", "c.h5", "a.h5"]


def test_without_a_file_the_message_says_what_to_give(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected HDF5 files .*found none among 0 files"):
        read_knmi(tmp_path, Request(unit="mm"))
    with pytest.raises(ConfigError, match="expected a file or a folder"):
        read_knmi(tmp_path / "none", Request(unit="mm"))


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path):
    names = ["a.h5", "b.hf5", "c", "d.0510", "e.dat"]
    for n, name in enumerate(names):
        start, end = (f"26-AUG-2010;05:{5 * (n + m):02}:00.000" for m in (0, 1))
        write_knmi(tmp_path / name, RAW, start=start, end=end)
    (tmp_path / "README").write_text("no radar")
    (tmp_path / "expected.json").write_text("{}")
    (source,) = read_knmi(tmp_path, Request())
    assert [Path(source.where(n)).name for n in range(5)] == names
    assert "2 files left out, which are not HDF5" in source.notes
    assert source.read(4).unit == "mm"
    # What is named as those beside it and is not HDF5 is damaged, and not left out.
    for name in ("f.hf5", "g.0510"):
        (tmp_path / name).write_bytes(b"cut off")
        with pytest.raises(DataError, match=rf"{name}: expected a KNMI radar image"):
            read_knmi(tmp_path, Request())
        (tmp_path / name).unlink()


@pytest.mark.parametrize("unit", [None, "mm", "kg m-2"])
def test_the_unit_is_the_files(tmp_path: Path, unit: str | None):
    write_knmi(tmp_path / "a.h5", RAW)
    (source,) = read_knmi(tmp_path, Request(unit=unit))
    assert source.read(0).unit == "mm" and source.stated_step == 5


@pytest.mark.parametrize("unit", ["mm/h", "dBZ", "inches", "m"])
def test_another_unit_is_an_error(tmp_path: Path, unit: str):
    write_knmi(tmp_path / "a.h5", RAW)
    with pytest.raises(DataError, match=r"a\.h5: "):
        read_knmi(tmp_path, Request(unit=unit))


def test_files_of_two_quantities_are_an_error(tmp_path: Path):
    write_knmi(tmp_path / "a.h5", RAW)
    reflectivity = {"parameter": "REFLECTIVITY_[DBZ]", "end": "26-AUG-2010;05:05:00.000"}
    write_knmi(tmp_path / "b.h5", RAW, **reflectivity)
    with pytest.raises(DataError, match=r"b\.h5: expected an image in mm as .*give --unit dBZ, or"):
        read_knmi(tmp_path, Request())
