"""Pictures of a forecast have the colours of its rain, lead time by lead time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.canvas import text_size, wrapped
from nowcast.precipitation.forecasting.products.pictures import write_animation, write_pictures
from nowcast.precipitation.forecasting.products.result import Forecast, Observed
from nowcast.precipitation.forecasting.products.words import rain_in_words
from nowcast.precipitation.forecasting.products.written import write
from nowcast.precipitation.pictures.render import MASKED, colours
from nowcast.precipitation.pictures.view import MARK
from nowcast.precipitation.units import Calibration
from tests.made_forecasts import KNMI, LONGLAT, made

ZR = Calibration(200.0, 1.6)


def top(width: int) -> int:
    """Rows above the frame: the heading, two lines of text, and margins."""
    size = text_size(width)
    return 2 * size + 3 * (size // 2) + 2 * round(1.4 * size)


TOP = top(410)


def expected(forecast: Forecast, lead: int) -> np.ndarray:
    return colours(forecast.pixels[lead], forecast.mask, ZR)


def enlarged(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each pixel of a picture is the pixel of the frame below its middle."""
    rows = ((np.arange(height) + 0.5) * frame.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * frame.shape[1] / width).astype(int)
    return frame[rows][:, columns]


def test_a_picture_a_lead_time(tmp_path: Path):
    forecast = made(height=420, width=410)
    write_pictures(forecast, tmp_path / "pictures", 410)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["+005min.png", "+010min.png", "+015min.png"]
    for lead, name in enumerate(names):
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert picture.mode == "RGB" and picture.width == 410
            drawn = np.asarray(picture)[TOP : TOP + 420]
        # A line of one pixel frames it.
        assert np.array_equal(drawn[:, 1:-1], expected(forecast, lead)[:, 1:-1])


def test_titles_of_leads_differ_and_the_legend_does_not(tmp_path: Path):
    forecast = made(height=420, width=410)
    forecast.pixels[:] = 0.5
    write_pictures(forecast, tmp_path / "pictures", 410)
    first, last = (
        np.asarray(Image.open(tmp_path / "pictures" / f"+{minutes}min.png"))
        for minutes in ("005", "015")
    )
    assert (first[:TOP] != last[:TOP]).any()
    assert np.array_equal(first[TOP:], last[TOP:])


def test_longer_leads_sort_by_time(tmp_path: Path):
    write_pictures(made(leads=201), tmp_path / "pictures")
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert (names[0], names[-1], len(names)) == ("+0005min.png", "+1005min.png", 201)


def test_small_frames_fill_the_picture_without_the_edge_that_has_no_data(tmp_path: Path):
    forecast = made(height=31, width=41)
    write_pictures(forecast, tmp_path / "pictures")
    with Image.open(tmp_path / "pictures" / "+005min.png") as picture:
        assert picture.width == 800
        drawn = np.asarray(picture)[top(800) :][:605, :800]
    shown = expected(forecast, 0)  # a margin of one column, where there is no data
    assert np.array_equal(drawn[:, 1:-1], enlarged(shown, 605, 800)[:, 1:-1])
    forecast.mask[:, 20:] = False
    write_pictures(forecast, tmp_path / "half")
    with Image.open(tmp_path / "half" / "+005min.png") as picture:
        drawn = np.asarray(picture)[top(800) :][:999, :677]
    shown = expected(forecast, 0)[:, :21]  # higher than wide, but not much
    assert np.array_equal(drawn[:, 1:-1], enlarged(shown, 999, 677)[:, 1:-1])
    assert (drawn[5, -6] == MASKED).all()


def frames(path: Path) -> tuple[list[np.ndarray], list[int]]:
    shown, durations = [], []
    with Image.open(path) as animation:
        for number in range(animation.n_frames):
            animation.seek(number)
            shown.append(np.asarray(animation.convert("RGB")))
            durations.append(animation.info["duration"])
    return shown, durations


def test_an_animation_has_the_colours_of_every_lead_and_holds_the_last(tmp_path: Path):
    forecast = made(height=420, width=410)
    write_animation(forecast, tmp_path / "forecast.gif", 410)
    shown, durations = frames(tmp_path / "forecast.gif")
    assert durations == [300, 300, 1200]
    for lead, frame in enumerate(shown):
        drawn = frame[TOP : TOP + 420]
        assert np.array_equal(drawn[:, 1:-1], expected(forecast, lead)[:, 1:-1])


def test_an_animation_begins_with_what_was_observed(tmp_path: Path):
    forecast = made(height=420, width=410)
    times = forecast.init + np.array([-5, 0], "m8[m]")
    mask = np.stack([~forecast.mask | True, forecast.mask])
    observed = Observed(times, forecast.pixels[:2, ::-1].copy(), mask)
    write_animation(replace(forecast, observed=observed), tmp_path / "forecast.gif", 410)
    shown, _ = frames(tmp_path / "forecast.gif")
    assert len(shown) == 2 + 3
    for number in range(2):
        drawn = shown[number][TOP : TOP + 420, 1:-1]
        own = colours(observed.pixels[number], mask[number], ZR)
        assert np.array_equal(drawn, own[:, 1:-1])
    assert np.array_equal(shown[2][TOP : TOP + 420, 1:-1], expected(forecast, 0)[:, 1:-1])
    # The colour behind the heading says which is which.
    assert len({tuple(frame[2, -2]) for frame in shown[:2]}) == 1
    assert tuple(shown[1][2, -2]) != tuple(shown[2][2, -2])


def test_a_wide_frame_is_thinned_out(tmp_path: Path):
    forecast = made(leads=2, height=500, width=1000)
    write_animation(forecast, tmp_path / "forecast.gif", 400)
    shown, _ = frames(tmp_path / "forecast.gif")
    drawn = shown[1][top(400) : top(400) + 200]
    assert shown[1].shape[1] == 400
    own = enlarged(expected(forecast, 1), 200, 400)
    assert np.array_equal(drawn[:, 1:-1], own[:, 1:-1])


def test_rain_in_words_says_where_it_rains_most_and_that_it_is_dry():
    forecast = made(grid=KNMI)
    rates = np.zeros((6, 8))
    rates[2, 3], rates[3, 7] = 4.25, 9.0  # the latter where there is no data
    said = rain_in_words(rates, forecast.mask, forecast.description)
    assert said == ("mean 0.10 mm/h, largest 4.2 mm/h at 55.95°N 0.05°E (row 2, column 3)")
    plain = rain_in_words(rates, forecast.mask, made().description)
    assert plain.endswith("largest 4.2 mm/h in row 2, column 3")
    dry = rain_in_words(0.01 * rates, forecast.mask, forecast.description)
    assert dry == "dry: less than 0.1 mm/h everywhere"
    nothing = rain_in_words(rates, np.zeros((6, 8), bool), forecast.description)
    assert nothing == "no data"


def test_a_picture_of_a_grid_in_degrees_has_the_shape_of_the_ground(tmp_path: Path):
    write_pictures(made(height=60, width=61, grid=LONGLAT), tmp_path / "pictures", 410)
    with Image.open(tmp_path / "pictures" / "+005min.png") as picture:
        drawn = np.asarray(picture)
    # At 40.5 N half a degree of longitude is 42 km and a quarter of latitude 28 km.
    grey = np.flatnonzero((drawn[:, 408] == MASKED).all(-1))
    assert abs((grey[-1] - grey[0]) / 410 - 60 * 27.8 / (61 * 42.4)) < 0.02


@pytest.mark.parametrize("leads", [1, 2])
def test_a_dry_forecast_is_an_animation_too(tmp_path: Path, leads: int):
    forecast = made(leads=leads)
    forecast.pixels[:] = 0
    write_animation(forecast, tmp_path / "forecast.gif")
    assert len(frames(tmp_path / "forecast.gif")[0]) == leads


def test_long_credits_are_wrapped_between_words():
    text = "made by many who must be named, one after the other, to the very last of them"
    lines = wrapped(text, 200, 11)
    assert len(lines) > 1 and " ".join(lines) == text
    assert wrapped("x" * 100, 200, 11) == ["x" * 100]


@pytest.mark.parametrize("members", [None, 3])
def test_points_that_were_asked_for_are_marked(tmp_path: Path, members: int | None):
    forecast = made(members=members)
    write(forecast, tmp_path, ["png"], ProbabilityRequest(points=("px:4,5,Mill",)))
    drawn = np.asarray(Image.open(tmp_path / "pictures" / "+005min.png"))
    assert (drawn == MARK).all(-1).any()
    write(forecast, tmp_path, ["png"], ProbabilityRequest())
    drawn = np.asarray(Image.open(tmp_path / "pictures" / "+005min.png"))
    assert not (drawn == MARK).all(-1).any()
