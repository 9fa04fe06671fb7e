"""An xarray object means to us what its attributes and coordinates say."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from pyproj import CRS

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.sources.stack.xarray_object import read_xarray

CLOCK = np.datetime64("2024-07-01T10:00", "ns") + np.timedelta64(5, "m") * np.arange(3)
RATES = np.random.default_rng(0).gamma(0.5, 4.0, (3, 4, 6))  # row 0 north, column 0 west
Y = 3.0e6 + 1000.0 * np.arange(4)[::-1]
X = 4.0e6 + 1000.0 * np.arange(6)
LAEA = Grid("EPSG:3035", 3.9995e6, 3.0035e6, 1000.0, 1000.0)


def array(units: str | None = "mm/h", values: np.ndarray = RATES) -> xr.DataArray:
    """Rates on a projected map, as rioxarray places them."""
    return xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": CLOCK,
            "y": ("y", Y, {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", X, {"standard_name": "projection_x_coordinate", "units": "m"}),
            "spatial_ref": ((), 0, {"crs_wkt": CRS(3035).to_wkt()}),
        },
        attrs={} if units is None else {"units": units},
        name="rain",
    )


def frames(data: xr.DataArray | xr.Dataset) -> np.ndarray:
    return np.stack([field.values for field in read_xarray(data).source])


@pytest.mark.parametrize(
    "turned",
    [
        array(),
        array()[:, ::-1],
        array()[:, ::-1, ::-1],
        array().transpose("x", "time", "y"),
        array().rename(y="northing", x="easting"),
        array().to_dataset(),
    ],
    ids=["as we have it", "south first", "east first too", "transposed", "renamed", "a dataset"],
)
def test_frames_are_turned_north_up_and_placed(turned: xr.DataArray | xr.Dataset):
    found = read_xarray(turned)
    np.testing.assert_allclose(frames(turned), RATES)
    grid = found.source.read(0).grid
    assert grid is not None and "+proj=laea +lat_0=52" in grid.projection
    assert replace(grid, projection="EPSG:3035") == LAEA
    assert (found.source.times == CLOCK).all()


@pytest.mark.parametrize(
    ("units", "factor", "unit"),
    [
        ("mm h-1", 1.0, "mm_h"),
        ("kg m-2 s-1", 3600.0, "mm_h"),
        ("m s-1", 3.6e6, "mm_h"),
        ("dBZ", 1.0, "dBZ"),
        ("mm", 1.0, "mm"),
        ("kg m-2", 1.0, "mm"),
    ],
)
def test_units_are_read_from_the_attributes(units: str, factor: float, unit: str):
    field = read_xarray(array(units)).source.read(1)
    assert field.unit == unit
    np.testing.assert_allclose(field.values, factor * RATES[1])


def test_without_units_it_is_said_what_they_are_taken_for():
    found = read_xarray(array(None)).source
    assert found.notes == ("rain states no units: taken for mm/h",)
    said = read_xarray(array(None), unit="dBZ").source
    assert said.read(0).unit == "dBZ" and said.notes == ()


def test_sums_say_over_how_long_they_are():
    amounts = array("mm")
    assert read_xarray(amounts).source.read(0).accumulation_minutes is None
    assert read_xarray(amounts.assign_attrs(accutime=10.0)).source.read(
        0
    ).accumulation_minutes == pytest.approx(10)
    data = amounts.to_dataset()
    data["time"].attrs["bounds"] = "time_bnds"
    ends = CLOCK + np.timedelta64(5, "m")
    data["time_bnds"] = (("time", "nv"), np.stack([CLOCK, ends], axis=1))
    found = read_xarray(data).source
    assert found.read(0).accumulation_minutes == 5
    assert (found.times == ends).all()


def test_packed_numbers_that_were_not_decoded():
    packed = np.array([[[0, 10, 20, 255, 1, 2]] * 4] * 3, dtype=np.uint8)
    data = array(values=packed).assign_attrs(
        scale_factor=0.5, add_offset=0.0, _FillValue=np.uint8(255)
    )
    np.testing.assert_array_equal(frames(data)[0, 0], [0, 5, 10, np.nan, 0.5, 1])


def of_pysteps(unit: str = "mm/h", transform: str | None = None) -> xr.Dataset:
    """As pysteps 2 makes it: ``projection`` has the Earth's size, the grid mapping has not."""
    name = {"mm/h": "precip_intensity", "mm": "precip_accum", "dBZ": "reflectivity"}[unit]
    projection = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752 +x_0=0 +y_0=0"
    axis = {"stepsize": 1000.0, "units": "m"}
    lat, lon = np.meshgrid(np.linspace(55, 50, 4), np.linspace(0, 5, 6), indexing="ij")
    stated = {"units": unit, "accutime": 5, "transform": transform, "zr_a": 200.0, "zr_b": 1.6}
    return xr.Dataset(
        {
            name: (
                ("time", "y", "x"),
                RATES[:, ::-1],
                {**stated, "grid_mapping": "polar_stereographic", "threshold": 0.1, "zerovalue": 0},
            ),
            "quality": (("time", "y", "x"), RATES, {"units": "1"}),
        },
        coords={
            "time": ("time", CLOCK, {"stepsize": 300}),
            "y": ("y", Y[::-1], {**axis, "standard_name": "projection_y_coordinate"}),
            "x": ("x", X, {**axis, "standard_name": "projection_x_coordinate"}),
            "lat": (("y", "x"), lat[::-1], {"units": "degrees_north"}),
            "lon": (("y", "x"), lon[::-1], {"units": "degrees_east"}),
            "polar_stereographic": (
                (),
                None,
                {
                    "grid_mapping_name": "polar_stereographic",
                    "straight_vertical_longitude_from_pole": 0.0,
                    "latitude_of_projection_origin": 90.0,
                    "standard_parallel": 60.0,
                    "false_easting": 0.0,
                    "false_northing": 0.0,
                },
            ),
        },
        attrs={"Conventions": "CF-1.7", "projection": projection, "precip_var": name},
    )


@pytest.mark.parametrize(
    ("unit", "expected", "minutes"),
    [("mm/h", "mm_h", None), ("mm", "mm", 5), ("dBZ", "dBZ", None)],
)
def test_datasets_of_pysteps_2(unit: str, expected: str, minutes: float | None):
    found = read_xarray(of_pysteps(unit))
    field = found.source.read(2)
    assert (field.unit, field.accumulation_minutes) == (expected, minutes)
    np.testing.assert_allclose(field.values, RATES[2])
    assert field.grid is not None and "+b=6356752" in field.grid.projection
    assert found.zr == (200.0, 1.6)
    with pytest.raises(ConfigError, match="found it transformed \\(dB\\)"):
        read_xarray(of_pysteps(unit, "dB"))


def test_rows_that_only_count_are_north_first():
    counted = array().drop_vars("spatial_ref").assign_coords(y=np.arange(4), x=np.arange(6))
    found = read_xarray(counted)
    np.testing.assert_allclose(frames(counted), RATES)
    assert found.source.read(0).grid is None and not found.place.south_first


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (array()[0], {}, "expected the dimensions time, y and x, found y, x"),
        (array().expand_dims(member=2), {}, "select one of the others"),
        (array("K"), {}, "rain: expected dBZ or .* found 'K' as its units"),
        (array(), {"unit": "dBZ"}, "states the units 'mm/h', but unit says 'dBZ'"),
        (array(), {"grid": LAEA}, "states where it lies in its coordinates"),
        (array().drop_vars("time"), {}, "expected a coordinate time of rain"),
        (
            xr.Dataset({"one": array(), "two": array()}),
            {},
            r'found one, two; give one of them, e.g. data\["one"\]',
        ),
        (xr.Dataset({"height": array("m K")}), {}, "one variable of rain or .* found height"),
    ],
)
def test_what_cannot_be_read_says_what_would(
    data: xr.DataArray | xr.Dataset, options: dict[str, object], said: str
):
    with pytest.raises(ConfigError, match=said):
        read_xarray(data, **options)


def test_a_coordinate_that_turns_back_is_an_error():
    with pytest.raises(DataError, match="expected /y to ascend or to descend"):
        read_xarray(array().assign_coords(y=("y", [0.0, 2.0, 1.0, 3.0], {"units": "m"})))
