"""What is written of members: netCDF, forecast.json and pictures."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.ensemble.pictures import (
    BANDS,
    write_probability_animations,
    write_stamps,
)
from nowcast.precipitation.forecasting.products.netcdf import write_netcdf
from nowcast.precipitation.forecasting.products.written import write
from nowcast.precipitation.pictures.render import MASKED, colours
from tests.made_forecasts import KNMI, LONGLAT, made

REQUEST = ProbabilityRequest(
    (0.5, 5.0), (0.1, 0.9), ("max:10", "sum:10", "sum:15"), "2px", ("px:2,3", "px:0,7")
)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_the_netcdf_has_every_product_by_its_coordinates(tmp_path: Path, engine: str):
    forecast = made(members=4)
    found = forecast.probabilities(REQUEST)
    write_netcdf(forecast, tmp_path / "forecast.nc", found)
    data = xr.load_dataset(tmp_path / "forecast.nc", engine=engine, decode_timedelta=False)
    assert data.rainfall_rate.dims == ("realization", "time", "y", "x")
    assert data.realization.values.tolist() == [1, 2, 3, 4]
    assert data.realization.attrs["standard_name"] == "realization"
    assert data.reflectivity.dims == ("time", "y", "x")
    assert forecast.members is not None
    rates = forecast.description.calibration.rate_from_pixel(forecast.members.pixels)
    np.testing.assert_allclose(data.rainfall_rate[..., :-1], rates[..., :-1], rtol=1e-6)
    assert found.nearby is not None
    window, near = found.windows[0], found.windows[0].nearby
    assert near is not None
    for name, dims, expected in (
        ("rainfall_rate_mean", (), found.mean),
        ("rainfall_rate_probability_matched_mean", (), found.matched_mean),
        ("probability_of_exceedance", ("threshold",), found.exceedance.swapaxes(0, 1)),
        ("probability_of_exceedance_nearby", ("threshold",), found.nearby.swapaxes(0, 1)),
        ("rainfall_rate_quantile", ("quantile",), found.quantiles.swapaxes(0, 1)),
    ):
        assert data[name].dims == (*dims, "time", "y", "x")
        np.testing.assert_array_equal(data[name], expected)
    ten = data.sel(window_max=10, window_sum=10)
    for name, expected in (
        ("maximum_rainfall_rate_probability", window.exceedance),
        ("maximum_rainfall_rate_probability_nearby", near),
        ("maximum_rainfall_rate_quantile", window.quantiles),
        ("rainfall_amount_probability", found.windows[1].exceedance),
        ("rainfall_amount_quantile", found.windows[1].quantiles),
    ):
        np.testing.assert_array_equal(ten[name], expected)
    assert data.window_sum.values.tolist() == [10, 15]
    assert data.window_sum_bounds.values.tolist() == [[0, 10], [0, 15]]
    assert data.threshold.values.tolist() == [0.5, 5] and data.threshold.units == "mm h-1"
    assert data.amount_threshold.units == data.rainfall_amount_quantile.units == "mm"
    assert data["quantile"].values.tolist() == [0.1, 0.9]
    assert data.probability_of_exceedance.units == "1"
    assert data.rainfall_rate_mean.cell_methods == "time: point realization: mean"
    assert "within 2px" in data.probability_of_exceedance_nearby.long_name
    for name, variable in data.data_vars.items():
        if variable.dims[-2:] == ("y", "x"):
            assert np.isnan(variable[..., -1]).all() and np.isfinite(variable[..., :-1]).all(), name


def test_a_file_without_members_is_as_it_was(tmp_path: Path):
    write_netcdf(made(), tmp_path / "forecast.nc")
    data = xr.load_dataset(tmp_path / "forecast.nc", engine="h5netcdf", decode_timedelta=False)
    assert list(data.data_vars) == [
        *("rainfall_rate", "rainfall_amount", "arrival_time", "reflectivity"),
        *("time_bounds", "lead_time_bounds"),
    ]
    assert set(data.coords) == {"time", "forecast_reference_time", "lead_time", "x", "y"}


@pytest.mark.parametrize("grid", [LONGLAT, KNMI, None])
def test_a_checker_of_cf_finds_no_error_in_members(tmp_path: Path, grid: Grid | None):
    checker = shutil.which("compliance-checker")
    if checker is None:
        pytest.skip("needs the command compliance-checker: pip install compliance-checker")
    forecast = made(grid=grid, members=3)
    write_netcdf(forecast, tmp_path / "forecast.nc", forecast.probabilities(REQUEST))
    said = subprocess.run(
        [checker, "--test", "cf:1.11", tmp_path / "forecast.nc"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "IOOS Compliance Checker Report" in said and "Errors" not in said, said


def test_forecast_json_says_what_the_members_say(tmp_path: Path):
    forecast = made(members=4)
    files = write(forecast, tmp_path / "out", ["gif", "png", "nc"], REQUEST)
    names = {path.relative_to(tmp_path / "out").as_posix() for path in files}
    assert {"probability_0.5mm_h.gif", "probability_5mm_h.gif", "stamps/+005min.png"} <= names
    told = json.loads((tmp_path / "out" / "forecast.json").read_text())["ensemble"]
    found = forecast.probabilities(REQUEST)
    assert (told["members"], told["seed"], told["radius"]) == (4, 7, "2px")
    assert [lead["lead_minutes"] for lead in told["highest_probability"]] == [5, 10, 15]
    assert told["highest_probability"][2]["5"] == np.nanmax(found.exceedance[2, 1])
    assert [(window["window"], window["unit"]) for window in told["windows"]] == [
        ("max:10", "mm/h"),
        ("sum:10", "mm"),
        ("sum:15", "mm"),
    ]
    wet, masked = told["points"]
    assert (wet["row"], wet["column"]) == (2, 3)
    assert wet["arrivals"][1]["text"] == str(found.points[0].arrivals[1])
    assert wet["probability"]["5"] == found.points[0].exceedance[1].round(4).tolist()
    assert masked["probability"]["5"] == [None] * 3
    assert masked["arrivals"][0]["probability"] is None


def test_a_forecast_replaced_by_one_without_members_leaves_none_of_its_files(tmp_path: Path):
    write(made(members=2), tmp_path, ["gif", "png"])
    files = write(made(), tmp_path, ["gif"])
    assert {path.name for path in tmp_path.iterdir()} == {"forecast.gif", "forecast.json"}
    assert "ensemble" not in json.loads(files[-1].read_text())


def test_a_request_that_does_not_suit_writes_nothing(tmp_path: Path):
    with pytest.raises(ConfigError, match="multiple of 5 minutes"):
        write(made(members=2), tmp_path / "out", ["nc"], ProbabilityRequest(windows=("max:7",)))
    assert not (tmp_path / "out").exists()


def test_an_animation_has_the_colour_of_each_probability(tmp_path: Path):
    forecast = made(height=420, width=410, members=4)
    found = forecast.probabilities(ProbabilityRequest((5.0,)))
    write_probability_animations(forecast, found, tmp_path, 410)
    palette = np.array([colour for _, colour in BANDS])
    edges = np.array([edge for edge, _ in BANDS])
    with Image.open(tmp_path / "probability_5mm_h.gif") as animation:
        assert animation.n_frames == 3
        animation.seek(2)
        drawn = np.asarray(animation.convert("RGB"))
    top = 2 * 11 + 3 * 5 + 2 * 15
    shares = 100 * found.exceedance[2, 0, :, 1:-1]
    expected = palette[(shares[..., None] >= edges).sum(-1) - 1]
    assert len(np.unique(shares)) == 5
    np.testing.assert_array_equal(drawn[top : top + 420, 1:409], expected)
    assert (drawn[top + 5, 409 - 1 + 1] != MASKED).any()  # a line frames it
    masked = made(height=420, width=410, members=4)
    masked.mask[:, 200:] = False
    again = masked.probabilities(ProbabilityRequest((5.0,), radius="2px"))
    write_probability_animations(masked, again, tmp_path, 410)
    with Image.open(tmp_path / "probability_5mm_h.gif") as animation:
        drawn = np.asarray(animation.convert("RGB"))
    top += 15  # its text takes three lines
    assert (drawn[top + 5, 246:250] == MASKED).all()  # a margin beside what has data
    assert (drawn[top + 5, 1:240] != MASKED).any(-1).all()


def test_stamps_are_the_first_six_members(tmp_path: Path):
    forecast = made(height=200, width=264, members=7)
    assert forecast.members is not None
    write_stamps(forecast, tmp_path / "stamps")
    names = sorted(path.name for path in (tmp_path / "stamps").iterdir())
    assert names == ["+005min.png", "+010min.png", "+015min.png"]
    picture = np.asarray(Image.open(tmp_path / "stamps" / "+010min.png"))
    assert picture.shape[1] == 800
    top, tall = 2 * 15 + 3 * 7 + 2 * 21 + 20, 200 + 20 + 4
    for member in range(6):
        row, column = divmod(member, 3)
        left, upper = column * 268, top + row * tall
        expected = colours(
            forecast.members.pixels[member, 1], forecast.mask, forecast.description.calibration
        )
        drawn = picture[upper : upper + 200, left : left + 264]
        np.testing.assert_array_equal(drawn[1:-1, 1:-1], expected[1:-1, 1:-1])
