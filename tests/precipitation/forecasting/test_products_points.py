"""What is said of points: the rain of their pixel, in files that programs and tables read."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasting.probabilities.places import Point, points_of
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.written import write
from tests.made_forecasts import LONGLAT, made

PLACES = ("47.9,5.3,West", "px:3,4", "47.9,8.9,No data")


def written(forecast: Forecast, folder: Path, *points: str) -> tuple[dict, list[dict]]:
    files = write(forecast, folder, (), ProbabilityRequest((1, 10), points=points))
    assert [path.name for path in files] == ["points.csv", "points.json", "forecast.json"]
    with files[0].open(newline="") as table:
        return json.loads(files[1].read_text()), list(csv.DictReader(table))


def test_one_forecast_has_the_rain_of_each_pixel(tmp_path: Path):
    forecast = made(grid=LONGLAT)
    told, rows = written(forecast, tmp_path, *PLACES)
    west, middle, empty = told["points"]
    assert (west["point"], west["row"], west["column"]) == ("West", 0, 0)
    assert (west["latitude"], middle["latitude"]) == (47.9, None)
    rates = forecast.rate_mm_h()[:, 3, 4]
    np.testing.assert_allclose(middle["rain_rate_mm_h"], rates, atol=1e-4)
    np.testing.assert_allclose(middle["rainfall_amount_mm"], np.cumsum(rates) / 12, atol=1e-4)
    assert middle["lead_minutes"] == [5, 10, 15] and middle["times"][0] == "2026-07-01T23:55Z"
    first = 5 * (np.argmax(rates >= 1) + 1) if (rates >= 1).any() else None
    assert middle["arrivals"][0]["median_minutes"] == first
    assert west["rain_rate_mm_h"] == [0, 0, 0] and empty["rain_rate_mm_h"] == [None] * 3
    assert west["arrivals"][0]["text"] == "rain of 1 mm/h or more: none forecast"
    assert "probability" not in middle and told["members"] is None
    assert len(rows) == 9 and rows[3]["point"] == "px:3,4" and rows[8]["rain_rate_mm_h"] == ""
    np.testing.assert_allclose(
        [float(row["rain_rate_mm_h"]) for row in rows[3:6]], rates, atol=1e-4
    )


def test_members_have_their_median_spread_and_probabilities(tmp_path: Path):
    forecast = made(grid=LONGLAT, members=5)
    told, rows = written(forecast, tmp_path, *PLACES)
    assert forecast.members is not None and told["members"] == 5
    rates = forecast.description.calibration.rate_from_pixel(forecast.members.pixels[:, :, 3, 4])
    point = told["points"][1]
    for key, level in (("", 0.5), ("_0.1", 0.1), ("_0.9", 0.9)):
        expected = np.quantile(rates, level, axis=0)
        np.testing.assert_allclose(point[f"rain_rate_mm_h{key}"], expected, rtol=1e-4, atol=1e-4)
    shares = (rates >= 10).mean(axis=0)
    np.testing.assert_allclose(point["probability"]["10"], shares, atol=1e-4)
    assert [float(row["probability_10_mm_h"]) for row in rows[3:6]] == point["probability"]["10"]
    assert "P = " in point["arrivals"][0]["text"]


@pytest.mark.parametrize(
    "text",
    [
        "lat,lon,name\n47.9,5.3,West\n\n47.1,6.2,\n",
        "name;lat;lon\n".replace(";", ",") + "West,47.9,5.3\n,47.1,6.2\n",
        "Latitude,Longitude,Name\n47.9,5.3,West\n47.1,6.2\n",
        "47.9,5.3,West\n47.1,6.2\n",
    ],
)
def test_a_table_lists_many(tmp_path: Path, text: str):
    (tmp_path / "places.csv").write_text(text)
    found = points_of([str(tmp_path / "places.csv"), "px:1,1,Own"], made(grid=LONGLAT).description)
    assert found[0] == Point("West", 0, 0, 47.9, 5.3) and found[2] == Point("Own", 1, 1)
    assert (found[1].row, found[1].column) == (3, 2)


def test_mistakes_in_points_say_what_would_do(tmp_path: Path):
    description = made(grid=LONGLAT).description
    (tmp_path / "empty.csv").write_text("lat,lon\n")
    (tmp_path / "other.csv").write_text("lat,height\n47,3\n")
    for points, said in (
        (["47.9,5.3,A", "47.1,6.2,A"], "expected each point once, found A twice"),
        (["nowhere.csv"], "nowhere.csv: expected a CSV file of points, found none"),
        ([str(tmp_path / "empty.csv")], "columns lat, lon and name, found no line"),
        ([str(tmp_path / "other.csv")], "found lat,height"),
        (["47.9"], "such as 52.10,5.18 or a row and a column"),
    ):
        with pytest.raises(ConfigError, match=said):
            points_of(points, description)
