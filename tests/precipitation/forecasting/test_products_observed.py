"""What was observed lies beside a forecast, and its summary says where it rains most."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.precipitation.forecasting.products.written import write
from tests.made_forecasts import KNMI, made
from tests.serving.served import with_observed


def test_the_frames_before_a_forecast_are_netcdf_beside_it(tmp_path: Path):
    forecast = with_observed(grid=KNMI)
    files = write(forecast, tmp_path / "out", ["nc"])
    assert [path.name for path in files] == ["forecast.nc", "observed.nc", "forecast.json"]
    data = xr.load_dataset(tmp_path / "out" / "observed.nc", engine="h5netcdf")
    observed = forecast.observed
    assert observed is not None
    rates = forecast.description.calibration.rate_from_pixel(observed.pixels)
    np.testing.assert_allclose(data.rainfall_rate[..., :-1], rates[..., :-1], rtol=1e-6)
    assert np.isnan(data.rainfall_rate[..., -1]).all()
    assert data.rainfall_rate.attrs["standard_name"] == "lwe_precipitation_rate"
    assert data.rainfall_rate.attrs["units"] == "mm h-1"
    assert data["time"].values.astype("M8[m]").tolist() == observed.times.tolist()
    assert data.rainfall_rate.attrs["grid_mapping"] == "crs" and "lat" in data.coords
    assert data.attrs["institution"] == "Météo of the tests"
    write(made(), tmp_path / "out", ["nc"])  # one without takes it away
    assert not (tmp_path / "out" / "observed.nc").exists()


def test_the_summary_says_where_it_rains_most(tmp_path: Path):
    forecast = made(grid=KNMI)
    forecast.pixels[0] = 0
    forecast.pixels[0, 2, 3] = 0.5
    told = json.loads(write(forecast, tmp_path / "out", ["nc"])[-1].read_text())["leads"][0]
    assert told["max_at"] == {
        "row": 2,
        "column": 3,
        "latitude": 55.9515,  # KNMI states 55.9736 for the corner, 2.5 km north
        "longitude": 0.0549,
    }
