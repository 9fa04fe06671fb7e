"""A forecast as netCDF means to xarray, and to CF, what it means here."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.forecasting.probabilities.arrival import first_minutes
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.dataset import to_dataset
from nowcast.precipitation.forecasting.products.georeference import georeference
from nowcast.precipitation.forecasting.products.netcdf import write_netcdf
from nowcast.precipitation.forecasting.products.result import Forecast
from tests.made_forecasts import KNMI, LONGLAT, made


def checked(path: Path) -> str:
    """What the compliance checker of IOOS says of a file."""
    pytest.importorskip("compliance_checker", reason="the extra tests has it")
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    report = path.with_suffix(".txt")
    ComplianceChecker.run_checker(
        str(path), ["cf:1.11"], 0, "normal", output_filename=str(report), output_format="text"
    )
    return report.read_text()


def opened(forecast: Forecast, folder: Path, engine: str = "h5netcdf") -> xr.Dataset:
    write_netcdf(forecast, folder / "forecast.nc")
    return xr.load_dataset(folder / "forecast.nc", engine=engine, decode_timedelta=True)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_values_times_and_what_is_missing(tmp_path: Path, engine: str):
    forecast = made()
    data = opened(forecast, tmp_path, engine)
    for name, expected in (
        ("rainfall_rate", forecast.rate_mm_h()),
        ("reflectivity", forecast.dbz()),
    ):
        held = data[name]
        assert held.dims == ("time", "y", "x") and held.dtype == np.float32
        assert np.array_equal(np.isnan(held.values), np.broadcast_to(~forecast.mask, held.shape))
        np.testing.assert_allclose(held.values[:, :, :-1], expected[:, :, :-1], rtol=1e-6)
        assert held.encoding["zlib"] and held.encoding["_FillValue"] == -9999
    assert (data.rainfall_rate[:, :, 0] == 0).all()
    assert (data.reflectivity[:, :, 0] == -10).all()
    assert data.rainfall_rate.attrs["standard_name"] == "lwe_precipitation_rate"
    assert data.rainfall_rate.attrs["units"] == "mm h-1"
    assert data.reflectivity.attrs["standard_name"] == "equivalent_reflectivity_factor"
    assert data.reflectivity.attrs["units"] == "dBZ"
    assert (data.time.values == forecast.times).all()
    assert data.forecast_reference_time.values == forecast.init
    minutes = data.lead_time.values / np.timedelta64(1, "m")
    assert minutes.tolist() == [5, 10, 15]
    bounds = data.time_bounds.values
    assert (bounds[:, 0] == forecast.init).all() and (bounds[:, 1] == forecast.times).all()
    assert {"forecast_reference_time", "lead_time"} <= set(data.rainfall_rate.coords)


def test_the_file_is_the_dataset(tmp_path: Path):
    forecast = made(grid=LONGLAT, members=3)
    found = forecast.probabilities(ProbabilityRequest((1, 5), (0.5,), ("max:10", "sum:15"), "2px"))
    write_netcdf(forecast, tmp_path / "forecast.nc", found)
    read = xr.load_dataset(tmp_path / "forecast.nc", decode_timedelta=False)
    held = to_dataset(forecast, found)
    del read.attrs["history"], held.attrs["history"]
    xr.testing.assert_identical(read, held)


def test_rain_adds_up_and_arrives(tmp_path: Path):
    forecast = made(leads=4)
    rates = forecast.rate_mm_h()
    data = to_dataset(forecast)
    by_hand = [[float(rates[: lead + 1, 2, 3].sum()) / 12] for lead in range(4)]
    np.testing.assert_allclose(data.rainfall_amount[:, 2, 3:4], by_hand, rtol=1e-6)
    assert data.rainfall_amount.attrs["cell_methods"] == "time: sum"
    assert np.isnan(data.rainfall_amount[:, :, -1]).all()
    for row, column in np.ndindex(6, 7):
        reached = np.flatnonzero(rates[:, row, column] >= 0.5)
        found = float(data.arrival_time[row, column])
        assert found == 5 * (reached[0] + 1) if len(reached) else np.isnan(found)
    assert np.isnan(data.arrival_time[:, 0]).all() and np.isnan(data.arrival_time[:, -1]).all()


def test_of_members_rain_arrives_when_half_of_them_have_it():
    rates = np.zeros((3, 4, 1, 3))
    rates[0, 1:, 0, :2] = 1  # two of three have it at the third lead time
    rates[1, 2:, 0, 0] = 1
    rates[2, 0, 0, 2] = np.nan
    np.testing.assert_array_equal(
        first_minutes(rates, (5, 10, 15, 20), 0.5), [[15, np.nan, np.nan]]
    )


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_who_made_it_of_what(tmp_path: Path, engine: str):
    forecast = made()
    stated = opened(forecast, tmp_path, engine).attrs
    assert stated["Conventions"] == "CF-1.11"
    assert stated["institution"] == "Météo of the tests"
    assert "persistence" in stated["source"]
    assert stated["history"].splitlines()[-1] == "made up"
    assert Description.from_json(stated["nowcast_description"]) == forecast.description
    assert json.loads(stated["nowcast_facts"]) == forecast.facts


def test_quantities_of_vil_bear_no_name_that_is_not_theirs(tmp_path: Path):
    data = opened(made(quantity="VIL"), tmp_path)
    for name in ("rainfall_rate", "reflectivity"):
        assert "standard_name" not in data[name].attrs
        assert "nominal" in data[name].attrs["long_name"]
        assert "nominal" in data[name].attrs["comment"]


def test_a_place_in_degrees(tmp_path: Path):
    data = opened(made(grid=LONGLAT), tmp_path)
    np.testing.assert_allclose(data.x, 5.25 + 0.5 * np.arange(8))
    np.testing.assert_allclose(data.y, 47.875 - 0.25 * np.arange(6))
    assert data.x.attrs["standard_name"] == "longitude" and data.x.attrs["units"] == "degrees_east"
    assert data.y.attrs["standard_name"] == "latitude" and data.y.attrs["units"] == "degrees_north"
    assert data.rainfall_rate.attrs["grid_mapping"] == "crs"
    assert data.crs.attrs["grid_mapping_name"] == "latitude_longitude"
    assert "lat" not in data


def test_knmis_kilometres_lie_where_knmi_says(tmp_path: Path):
    data = opened(made(height=765, width=700, leads=1, grid=KNMI), tmp_path)
    assert data.x.attrs["standard_name"] == "projection_x_coordinate"
    assert data.x.attrs["units"] == data.y.attrs["units"] == "km"
    np.testing.assert_allclose([data.x[0], data.x[-1]], [0.5, 699.5])
    np.testing.assert_allclose([data.y[0], data.y[-1]], [-3650.5, -4414.5])
    mapping = data.crs.attrs
    assert mapping["grid_mapping_name"] == "polar_stereographic"
    assert mapping["latitude_of_projection_origin"] == 90
    assert mapping["standard_parallel"] == 60
    assert mapping["semi_major_axis"] == pytest.approx(6378137)
    assert "PROJCRS" in mapping["crs_wkt"]
    # The outer corners in KNMI's files, half a pixel from these centres.
    corners = {(0, 0): (55.974, 0.0), (0, -1): (55.389, 10.856), (-1, -1): (48.895, 9.009)}
    for (row, column), (latitude, longitude) in corners.items():
        assert float(data.lat[row, column]) == pytest.approx(latitude, abs=0.01)
        assert float(data.lon[row, column]) == pytest.approx(longitude, abs=0.01)
    assert data.lat.attrs["units"] == "degrees_north"
    assert data.rainfall_rate.lat.shape == (765, 700)


def test_an_unknown_place_is_numbers_of_pixels(tmp_path: Path):
    data = opened(made(), tmp_path)
    assert data.x.values.tolist() == list(range(8)) and data.y.values.tolist() == list(range(6))
    for axis in (data.x, data.y):
        assert "standard_name" not in axis.attrs and axis.attrs["units"] == "1"
    assert data.y.attrs["long_name"] == "row, from the north"
    assert "crs" not in data and "grid_mapping" not in data.rainfall_rate.attrs


def test_what_pyproj_or_cf_cannot_say_is_said(tmp_path: Path):
    def mapping(projection: str) -> dict[str, object]:
        _, stated = georeference(Grid(projection, 0.0, 0.0, 1e3, 1e3), 2, 2)
        assert stated is not None
        return stated

    assert "cannot read the projection" in str(mapping("+proj=nonsense")["comment"])
    assert "found 1e-06 x 1e-06 km" in str(mapping("+proj=laea +to_meter=1e-6")["comment"])
    swiss = mapping("+proj=somerc +lat_0=46.9524 +lon_0=7.4396 +ellps=bessel")
    assert swiss["grid_mapping_name"] == "oblique_mercator"
    assert "crs_wkt is complete" in str(swiss["comment"])
    assert "no name for this projection" in str(mapping("+proj=cass +lat_0=50")["comment"])
    assert "comment" not in mapping("+proj=laea +lat_0=55 +lon_0=10")
    albers = Grid("+proj=aea +lat_1=43 +lat_2=62 +lat_0=30 +lon_0=10", 0.0, 0.0, 1e3, 1e3)
    assert opened(made(grid=albers), tmp_path).crs.attrs["standard_parallel"].tolist() == [43, 62]


def test_pixels_that_are_off_the_map_have_no_latitude(tmp_path: Path):
    disc = Grid("+proj=ortho +lat_0=50 +lon_0=10", -8e6, 8e6, 2e6, 2e6)
    data = opened(made(height=8, grid=disc), tmp_path)
    assert np.isnan(data.lat[0, 0]) and np.isnan(data.lon[0, 0])
    assert 40 < float(data.lat[4, 4]) < 50
    assert "expected pixels of 0.05 to 100 km, found 2e+03 x 2e+03 km" in data.crs.attrs["comment"]


@pytest.mark.parametrize("grid", [LONGLAT, KNMI, None])
@pytest.mark.parametrize("members", [None, 3])
def test_a_checker_of_cf_finds_no_error(tmp_path: Path, grid: Grid | None, members: int | None):
    forecast, path = made(grid=grid, members=members), tmp_path / "forecast.nc"
    request = ProbabilityRequest((1, 5), (0.5,), ("max:10", "sum:15"), "2px")
    write_netcdf(forecast, path, None if members is None else forecast.probabilities(request))
    said = checked(path)
    assert "CF" in said or "cf:1.11" in said
    if grid is None or members is not None:
        # It warns that numbers of pixels are no place, and of a method over realizations, which CF
        # allows (7.3.4): both are meant.
        assert "Errors" not in said, said
    else:
        assert "All tests passed!" in said, said


@pytest.mark.parametrize(
    ("grid", "west", "north", "pixel_y"), [(LONGLAT, 5.0, 48.0, -0.25), (KNMI, 0.0, -3650.0, -1.0)]
)
def test_gdal_sees_the_rain_where_it_lies(
    tmp_path: Path, grid: Grid, west: float, north: float, pixel_y: float
):
    rasterio = pytest.importorskip("rasterio", reason="the extra tests has it, with GDAL")
    forecast = made(grid=grid)
    write_netcdf(forecast, tmp_path / "forecast.nc")
    with rasterio.open(f"netcdf:{tmp_path}/forecast.nc:rainfall_rate") as image:
        assert image.count == 3 and image.nodata == -9999
        assert image.crs.is_geographic == (grid is LONGLAT)
        transform = image.transform
        assert (transform.c, transform.f, transform.e) == pytest.approx((west, north, pixel_y))
        np.testing.assert_allclose(image.read(2)[:, :-1], forecast.rate_at(1)[:, :-1], rtol=1e-6)
        assert (image.read(2)[:, -1] == -9999).all()
