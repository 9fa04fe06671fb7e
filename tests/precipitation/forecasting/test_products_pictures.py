"""Pictures of a forecast have the colours of its rain, lead time by lead time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nowcast.precipitation.forecasting.products.canvas import wrapped
from nowcast.precipitation.forecasting.products.pictures import write_animation, write_pictures
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.pictures.render import MASKED, colours
from nowcast.precipitation.units import Calibration
from tests.made_forecasts import made

ZR = Calibration(200.0, 1.6)
TOP = 2 * 17 + 6  # two lines of title above the frame, and a margin


def expected(forecast: Forecast, lead: int) -> np.ndarray:
    return colours(forecast.pixels[lead], forecast.mask, ZR)


def test_a_picture_a_lead_time(tmp_path: Path):
    forecast = made(height=420, width=410)
    write_pictures(forecast, tmp_path / "pictures")
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
    write_pictures(forecast, tmp_path / "pictures")
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


def test_small_frames_are_drawn_large_enough_for_their_legend(tmp_path: Path):
    forecast = made(height=40, width=20)
    write_pictures(forecast, tmp_path / "pictures")
    with Image.open(tmp_path / "pictures" / "+005min.png") as picture:
        assert picture.width == 400
        drawn = np.asarray(picture)[TOP : TOP + 400, :200]
    # Each pixel is a square of ten.
    assert np.array_equal(drawn[5::10, 5::10], expected(forecast, 0))
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
    write_animation(forecast, tmp_path / "forecast.gif")
    shown, durations = frames(tmp_path / "forecast.gif")
    assert durations == [300, 300, 1200]
    for lead, frame in enumerate(shown):
        drawn = frame[TOP : TOP + 420]
        assert np.array_equal(drawn[:, 1:-1], expected(forecast, lead)[:, 1:-1])


def test_a_wide_frame_is_thinned_out_in_the_animation(tmp_path: Path):
    forecast = made(leads=2, height=500, width=1000)
    write_animation(forecast, tmp_path / "forecast.gif")
    shown, _ = frames(tmp_path / "forecast.gif")
    height, width = 167, 334  # one of three each way
    drawn = shown[1][TOP : TOP + height, :width]
    assert shown[1].shape[1] == 400
    assert np.array_equal(drawn[:, 1:-1], expected(forecast, 1)[::3, ::3][:, 1:-1])


@pytest.mark.parametrize("leads", [1, 2])
def test_a_dry_forecast_is_an_animation_too(tmp_path: Path, leads: int):
    forecast = made(leads=leads)
    forecast.pixels[:] = 0
    write_animation(forecast, tmp_path / "forecast.gif")
    assert len(frames(tmp_path / "forecast.gif")[0]) == leads


def test_long_credits_are_wrapped_between_words():
    text = "made by many who must be named, one after the other, to the very last of them"
    lines = wrapped(text, 200)
    assert len(lines) > 1 and " ".join(lines) == text
    assert wrapped("x" * 100, 200) == ["x" * 100]
