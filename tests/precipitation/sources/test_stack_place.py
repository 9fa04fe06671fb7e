"""Which way up a netCDF stack is and where: coordinates and grid mappings, or the user's word."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj
import pytest
import xarray

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.projection import pixel_km
from nowcast.precipitation.sources.field import Request, Source
from nowcast.precipitation.sources.stack.reader import read_stack

RAIN = np.arange(6.0).reshape(1, 2, 3)
LAEA = pyproj.CRS.from_epsg(3035)
LAEA_PROJ = (
    "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m +no_defs"
)


def stack(
    path: Path,
    y: Any = None,
    x: Any = None,
    *,
    names: tuple[str, str] = ("y", "x"),
    y_attributes: dict | None = None,
    x_attributes: dict | None = None,
    crs: dict | None = None,
    more: dict | None = None,
    rain: np.ndarray = RAIN,
    **attributes: Any,
) -> Path:
    """A netCDF file of one frame, written by xarray."""
    dims = ("time", *names)
    variables: dict[str, Any] = {"rain": (dims, rain, {"units": "mm/h"} | attributes)}
    if crs is not None:
        variables["crs"] = ((), 0, crs)
        variables["rain"][2]["grid_mapping"] = "crs"
    variables |= more or {}
    coordinates: dict[str, Any] = {
        "time": ("time", [0], {"units": "minutes since 2020-06-01", "calendar": "standard"})
    }
    if y is not None:
        coordinates[names[0]] = (names[0], np.asarray(y), y_attributes or {})
    if x is not None:
        coordinates[names[1]] = (names[1], np.asarray(x), x_attributes or {})
    xarray.Dataset(variables, coordinates).to_netcdf(path, engine="h5netcdf")
    return path


def read(path: Path, **said: Any) -> Source:
    (source,) = read_stack(path, Request(datasets=("rain", "time"), **said))
    return source


NORTH = {"units": "degrees_north"}
EAST = {"units": "degrees_east"}
UPSIDE_DOWN = RAIN[0, ::-1]


@pytest.mark.parametrize(
    ("names", "y_attributes"),
    [
        (("y", "x"), {"standard_name": "projection_y_coordinate", "units": "m"}),
        (("y", "x"), {}),
        (("lat", "lon"), NORTH),
        (("latitude", "longitude"), {}),
        (("j", "i"), {"axis": "Y"}),
        (("j", "i"), {"standard_name": "latitude"}),
        (("rlat", "rlon"), {"standard_name": "grid_latitude", "units": "degrees"}),
        (("j", "i"), {"units": "degree_north"}),
    ],
)
def test_rows_that_run_north_are_turned_and_those_that_run_south_are_not(
    tmp_path: Path, names: tuple[str, str], y_attributes: dict
):
    up = read(stack(tmp_path / "up.nc", [45.0, 46.5], names=names, y_attributes=y_attributes))
    assert np.array_equal(up.read(0).values, UPSIDE_DOWN)
    assert any("rows turned" in note and "ascends" in note for note in up.notes)
    down = read(stack(tmp_path / "down.nc", [46.5, 45.0], names=names, y_attributes=y_attributes))
    assert np.array_equal(down.read(0).values, RAIN[0])
    assert any("descends" in note for note in down.notes)


def test_a_y_that_counts_downwards(tmp_path: Path):
    path = stack(tmp_path / "a.nc", [0.0, 1.0], y_attributes={"axis": "Y", "positive": "down"})
    assert np.array_equal(read(path).read(0).values, RAIN[0])


@pytest.mark.parametrize("x", [[8.0, 7.0, 6.0], [1.0, 0.0, 359.0]])
def test_columns_that_run_west_are_turned(tmp_path: Path, x: list[float]):
    names, y = ("lat", "lon"), [46.0, 45.0]
    source = read(
        stack(tmp_path / "a.nc", y, x, names=names, y_attributes=NORTH, x_attributes=EAST)
    )
    assert np.array_equal(source.read(0).values, RAIN[0, :, ::-1])
    assert source.read(0).grid.pixel_x == pytest.approx(1)


def test_longitudes_that_run_over_greenwich_still_run_east(tmp_path: Path):
    path = stack(
        tmp_path / "a.nc",
        [46.0, 45.0],
        [359.0, 0.0, 1.0],
        names=("lat", "lon"),
        y_attributes=NORTH,
        x_attributes=EAST,
    )
    field = read(path).read(0)
    assert np.array_equal(field.values, RAIN[0])
    assert (field.grid.x_west, field.grid.pixel_x) == (358.5, 1)


@pytest.mark.parametrize("first", [0, 1])
def test_a_y_that_counts_pixels_leaves_it_open(tmp_path: Path, first: int):
    path = stack(tmp_path / "a.nc", [first, first + 1])
    with pytest.raises(DataError, match=r"expected /y to say which row is north.*--north-first if"):
        read(path)
    assert np.array_equal(read(path, north_first=True).read(0).values, RAIN[0])
    assert np.array_equal(read(path, south_first=True).read(0).values, UPSIDE_DOWN)


def test_coordinates_in_two_dimensions(tmp_path: Path):
    lat = np.array([[45.0, 45.1, 45.2], [46.0, 46.1, 46.2]])
    lon = np.array([[9.0, 8.0, 7.0], [9.1, 8.1, 7.1]])
    more = {"lat": (("y", "x"), lat, NORTH), "lon": (("y", "x"), lon, EAST)}
    source = read(stack(tmp_path / "a.nc", more=more))
    assert np.array_equal(source.read(0).values, RAIN[0, ::-1, ::-1])
    more = {"lat": (("y", "x"), lat[::-1], NORTH), "lon": (("y", "x"), lon[:, ::-1], EAST)}
    assert np.array_equal(read(stack(tmp_path / "b.nc", more=more)).read(0).values, RAIN[0])
    more = {"lat": (("y", "x"), lon, NORTH), "lon": (("y", "x"), lat, EAST)}
    with pytest.raises(DataError, match=r"changes along the other axis; write it with these axes"):
        read(stack(tmp_path / "c.nc", more=more))


def test_an_hdf5_stack_without_dimension_scales_has_its_y_beside_it(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rain"], file["time"] = RAIN, [26_000_000]
        file["y"] = [1000.0, 2000.0]
    assert np.array_equal(read(tmp_path / "a.h5", unit="mm").read(0).values, UPSIDE_DOWN)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        group = file.create_group("radar")
        group["rain"], group["time"] = RAIN, [26_000_000]
        file["lat"] = [45.0, 46.0]
    request = Request("mm", datasets=("radar/rain", "radar/time"))
    assert np.array_equal(read_stack(tmp_path / "b.h5", request)[0].read(0).values, UPSIDE_DOWN)


@pytest.mark.parametrize(
    ("y", "said", "message"),
    [
        ([45.0, 46.0], {"north_first": True}, "ascends, so row 0 is the southernmost, but --north"),
        ([46.0, 45.0], {"south_first": True}, "descends, so row 0 is the northernmost, but --sout"),
        ([45.0, 45.0], {}, "expected /y to ascend or to descend throughout, found 45, 45"),
        ([45.0, np.nan], {}, "expected /y to ascend or to descend throughout"),
    ],
)
def test_what_contradicts_is_an_error(tmp_path: Path, y: list, said: dict, message: str):
    with pytest.raises(DataError, match=message):
        read(stack(tmp_path / "a.nc", y), **said)


def test_axes_in_another_order_are_an_error(tmp_path: Path):
    path = stack(tmp_path / "a.nc", [1.0, 2.5], [4.0, 3.0, 2.0], names=("lon", "lat"))
    with pytest.raises(DataError, match=r"expected /rain with the axes \(time, y, x\), found /lon"):
        read(path)


# Grids


def crs_cf() -> dict[str, Any]:
    return {key: value for key, value in LAEA.to_cf().items() if key != "crs_wkt"}


@pytest.mark.parametrize(
    "crs",
    [
        {"crs_wkt": LAEA.to_wkt()},
        {"spatial_ref": LAEA.to_wkt()},
        {"spatial_ref": "EPSG:3035"},
        crs_cf(),
        {"proj4": LAEA_PROJ},
        {"proj4_params": LAEA_PROJ},
    ],
    ids=["crs_wkt", "spatial_ref", "EPSG", "CF", "proj4", "proj4_params"],
)
@pytest.mark.parametrize("units", ["m", "km", None])
def test_a_grid_mapping_and_coordinates_are_the_grid(tmp_path: Path, crs: dict, units: str | None):
    y, x = np.array([2_000_000.0, 2_002_000.0]), 4_000_000 + 1000.0 * np.arange(3)
    over = 1000 if units == "km" else 1
    said = {} if units is None else {"units": units}
    path = stack(
        tmp_path / "a.nc", y / over, x / over, y_attributes=said, x_attributes=said, crs=crs
    )
    grid = read(path).read(0).grid
    assert (grid.x_west, grid.y_north) == pytest.approx((3_999_500, 2_003_000))
    assert (grid.pixel_x, grid.pixel_y) == pytest.approx((1000, 2000))
    # A pixel lies where PROJ says: the point (10 E, 52 N) is this projection's false origin.
    assert pyproj.Proj(grid.projection)(10, 52) == pytest.approx((4_321_000, 3_210_000))


def test_latitude_and_longitude_are_a_grid_without_a_grid_mapping(tmp_path: Path):
    y, x = np.float32([45.05, 45.15]), np.float32([7.1, 7.2, 7.3])
    path = stack(
        tmp_path / "a.nc", y, x, names=("lat", "lon"), y_attributes=NORTH, x_attributes=EAST
    )
    grid = read(path).read(0).grid
    assert pyproj.CRS(grid.projection).is_geographic
    assert (grid.x_west, grid.y_north) == pytest.approx((7.05, 45.2), abs=1e-5)
    assert (grid.pixel_x, grid.pixel_y) == pytest.approx((0.1, 0.1), rel=1e-4)


def test_the_grid_that_the_user_says(tmp_path: Path):
    expected = Grid(LAEA_PROJ, 0.0, 4000.0, 1000.0, 2000.0)
    said = {"projection": "EPSG:3035", "bounds": (0.0, 0.0, 3000.0, 4000.0)}
    assert read(stack(tmp_path / "a.nc"), **said).read(0).grid == expected
    np.save(tmp_path / "rain.npy", RAIN)
    np.save(tmp_path / "times.npy", np.array([26_000_000]))
    request = Request("mm_h", times=tmp_path / "times.npy", **said)
    assert read_stack(tmp_path / "rain.npy", request)[0].read(0).grid == expected
    # The file's coordinates with the user's projection.
    path = stack(tmp_path / "b.nc", [3000.0, 1000.0], [500.0, 1500.0, 2500.0])
    assert any("give --projection" in note for note in read(path).notes)
    assert read(path, projection="EPSG:3035").read(0).grid == expected
    assert read(path, **said).read(0).grid == expected
    # The file's projection with the user's bounds.
    path = stack(tmp_path / "c.nc", crs={"spatial_ref": "EPSG:3035"})
    assert read(path, bounds=said["bounds"]).read(0).grid == expected


def test_a_radius_in_km_makes_kilometres_of_the_projections_unit(tmp_path: Path):
    """As KNMI's netCDF has it, whose CF parameters are not complete either."""
    proj = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378.14 +b=6356.75 +x_0=0 +y_0=0"
    crs = {"grid_mapping_name": "polar_stereographic", "proj4_params": proj}
    for units, over in (("km", 1), ("m", 1000)):
        said = {"units": units}
        y, x = np.array([-3650.5, -3651.5]) * over, np.array([0.5, 1.5, 2.5]) * over
        path = stack(tmp_path / f"{units}.nc", y, x, y_attributes=said, x_attributes=said, crs=crs)
        grid = read(path).read(0).grid
        place = (grid.x_west, grid.y_north, grid.pixel_x, grid.pixel_y)
        assert place == pytest.approx((0, -3650, 1, 1))
        assert pixel_km(grid.projection, *place, 765, 700) == pytest.approx((1, 1))


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ({"projection": "EPSG:25832"}, DataError, "states the projection .*but --projection says"),
        ({"projection": "nonsense"}, ConfigError, "--projection: expected what PROJ knows"),
        ({"bounds": (0.0, 0.0, 3000.0, 9000.0)}, DataError, "but --bounds says .*leave the option"),
        ({"bounds": (3000.0, 0.0, 0.0, 4000.0)}, ConfigError, "--bounds: expected the outer edges"),
        ({"south_first": True, "north_first": True}, ConfigError, "row 0 is one or the other"),
    ],
)
def test_a_user_who_contradicts_the_file(tmp_path: Path, said: dict, kind: type, message: str):
    path = stack(
        tmp_path / "a.nc",
        [3000.0, 1000.0],
        [500.0, 1500.0, 2500.0],
        crs={"spatial_ref": "EPSG:3035"},
    )
    with pytest.raises(kind, match=message):
        read(path, **said)


def test_half_a_grid_on_the_command_line_is_an_error(tmp_path: Path):
    path = stack(tmp_path / "a.nc")
    with pytest.raises(ConfigError, match=r"--bounds: .* needs both"):
        read(path, projection="EPSG:3035")
    with pytest.raises(ConfigError, match=r"--projection: .* needs both"):
        read(path, bounds=(0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"crs": {"grid_mapping_name": "flat"}}, "PROJ does not know the grid mapping crs"),
        ({"crs": {"note": "none"}}, "the grid mapping crs names no projection"),
        ({"grid_mapping": "elsewhere"}, "the file lacks the grid mapping elsewhere"),
        (
            {"crs": {"spatial_ref": "EPSG:3035"}, "x": [0.0, 1.0, 2.0]},
            "grid not stated: /x counts pixels, without units",
        ),
        (
            {"crs": {"spatial_ref": "EPSG:3035"}, "x": [0.0, 1.0, 9.0]},
            "grid not stated: /x is not evenly spaced",
        ),
        (
            {"crs": {"spatial_ref": "EPSG:3035"}, "x_attributes": {"units": "radian"}},
            "grid not stated: /x is in 'radian'",
        ),
    ],
)
def test_why_there_is_no_grid_is_said(tmp_path: Path, changed: dict, message: str):
    given = {"y": [3000.0, 1000.0], "x": [500.0, 1500.0, 2500.0]} | changed
    source = read(stack(tmp_path / "a.nc", **given))
    assert source.read(0).grid is None
    assert any(message in note for note in source.notes)
