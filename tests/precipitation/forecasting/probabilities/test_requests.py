"""What is asked for of members, as text, and when rain arrives."""

from dataclasses import replace

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.forecasting.probabilities.arrival import arrival
from nowcast.precipitation.forecasting.probabilities.places import located, radius_px
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest, numbers
from nowcast.precipitation.forecasting.probabilities.windows import Window
from tests.made_forecasts import KNMI, LONGLAT

MINUTES = [5, 10, 15, 20]


def description(grid: Grid | None = None, height: int = 765, width: int = 700) -> Description:
    return Description("tiny", "nobody", 5, height, width, 200.0, 1.6, grid=grid)


def test_rain_arrives_by_the_members_that_bring_it():
    rates = np.array(
        [[0, 1, 9, 9], [0, 0, 2, 0], [1, 0, 0, 0], [0, 0, 0, 0.9], [0, 0, 0, 0]], dtype=np.float32
    )
    found = arrival(rates, MINUTES, 1.0)
    assert found.probability == pytest.approx(0.6)
    assert (found.early_minutes, found.median_minutes, found.late_minutes) == (5, 10, 15)
    assert str(found) == "rain of 1 mm/h or more in 10 min (5-15), P = 0.60"
    assert str(arrival(rates, MINUTES, 20)) == "rain of 20 mm/h or more: P = 0"
    rates[4, 2] = np.nan
    assert arrival(rates, MINUTES, 1.0).probability is None
    assert str(arrival(rates, MINUTES, 1.0)).endswith("no data")


def test_windows_are_whole_steps_of_the_forecast():
    assert Window.read("max:30") == Window("max", 30) and Window.read("sum:60min").unit == "mm"
    assert Window("max", 30).steps(5, 12) == 6
    for text in ("30", "mean:30", "max:0", "max:3.5"):
        with pytest.raises(ConfigError, match="window"):
            Window.read(text)
    with pytest.raises(ConfigError, match=r"multiple of 6 minutes.* write max:30 or max:36"):
        Window("max", 32).steps(6, 12)
    with pytest.raises(ConfigError, match="write sum:6"):
        Window("sum", 4).steps(6, 12)
    with pytest.raises(ConfigError, match="--lead 90min"):
        Window("sum", 90).steps(5, 12)


def test_a_map_that_counts_to_360_degrees_knows_a_place_west_of_greenwich():
    turned = replace(LONGLAT, x_west=354.0)
    point = located("47.9,-5.4", description(turned, 6, 8))
    assert (point.row, point.column) == (0, 1)


def test_a_point_in_degrees_is_where_the_map_has_it():
    # KNMI's corner is 55.974 N, 0 E by its files.
    found = located("55.96,0.02", description(KNMI))
    assert (found.row, found.column) == (1, 1)
    inside = located("52.10,5.18", description(KNMI))
    assert 415 < inside.row < 440 and 360 < inside.column < 380  # De Bilt, mid-country
    small = located("47.9,5.6", description(LONGLAT, 6, 8))
    assert (small.row, small.column, small.name) == (0, 1, "47.9,5.6")


def test_a_point_is_a_pixel_where_it_says_so():
    found = located("px:3,7", description(height=6, width=8))
    assert (found.row, found.column) == (3, 7)
    for text, said in (
        ("px:6,0", "within the 6x8 frame"),
        ("3;7", "latitude and longitude"),
        ("52.1,5.2", "px:ROW,COLUMN, since tiny states no grid"),
    ):
        with pytest.raises(ConfigError, match=said):
            located(text, description(height=6, width=8))
    with pytest.raises(ConfigError, match="write px:240,200"):
        located("240,200", description(KNMI))
    with pytest.raises(ConfigError, match="latitude comes first"):
        located("5.18,52.10", description(KNMI))


def test_a_radius_in_km_or_pixels():
    assert radius_px("8px", description()) == (8, 8)
    assert radius_px("5km", description(KNMI)) == (5, 5)
    rows, columns = radius_px("100km", description(LONGLAT, 6, 8))
    assert rows == pytest.approx(100 / 27.8, rel=0.01)
    assert columns == pytest.approx(100 / (55.7 * np.cos(np.radians(47.25))), rel=0.01)
    with pytest.raises(ConfigError, match="such as 5px, since tiny states no grid"):
        radius_px("5km", description())
    with pytest.raises(ConfigError, match="less than the frame, 6x8 pixels"):
        radius_px("6px", description(height=6, width=8))
    for text in ("5", "0km", "-1px"):
        with pytest.raises(ConfigError, match="5km or 8px"):
            radius_px(text, description())


def test_numbers_that_cannot_be_are_refused():
    assert numbers("--probability", "0.5,2") == (0.5, 2)
    with pytest.raises(ConfigError, match="--probability: expected numbers"):
        numbers("--probability", "0.5;2")
    for wrong in ({"thresholds": (2.0, 0.5)}, {"thresholds": (0.0,)}, {"quantiles": (0.5, 1.2)}):
        with pytest.raises(ConfigError, match="ascending"):
            ProbabilityRequest(**wrong)
    with pytest.raises(ConfigError, match="each once"):
        ProbabilityRequest(windows=("max:30", "max:30min"))
