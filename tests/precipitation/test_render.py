"""Colours follow rain rate, what is masked is grey, and small frames are drawn too."""

import numpy as np
import pytest

from nowcast.precipitation.render import BANDS, MASKED, colours, strip
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration

HKO7 = Calibration()
DWD = Calibration(DWD_ZR_A, DWD_ZR_B)


@pytest.mark.parametrize("calibration", [HKO7, DWD])
def test_every_band_has_its_colour(calibration: Calibration):
    edges = [edge for edge, _ in BANDS]
    assert edges[:4] == [0.0, 0.1, 0.5, 1.0]
    # One level is up to 4 % of a rate, so a rate 5 % above an edge lies in its band.
    rates = np.array([0.0, *(1.05 * edge for edge in edges[1:])])
    pixels = calibration.pixel_from_rate(rates)[None]
    drawn = colours(pixels, np.ones(pixels.shape, dtype=bool), calibration)
    assert drawn[0].tolist() == [list(colour) for _, colour in BANDS]
    below = calibration.pixel_from_rate(0.95 * np.array(edges[1:]))[None]
    drawn = colours(below, np.ones(below.shape, dtype=bool), calibration)
    assert drawn[0].tolist() == [list(colour) for _, colour in BANDS[:-1]]


def test_what_is_masked_is_grey_and_what_is_off_the_scale_is_clipped():
    pixels = np.array([[0.7, 0.7, -3.0, 3.0]])
    mask = np.array([[True, False, True, True]])
    drawn = colours(pixels, mask, HKO7)
    assert drawn.dtype == np.uint8
    assert drawn[0, 0].tolist() == [243, 148, 38]  # 39 dBZ, 23 mm/h
    assert drawn[0, 1].tolist() == list(MASKED) == [176, 176, 176]
    assert drawn[0, 2].tolist() == list(BANDS[0][1])
    assert drawn[0, 3].tolist() == list(BANDS[-1][1])


def test_the_same_pixel_is_another_rate_for_another_radar():
    pixels, mask = np.full((1, 1), 0.5), np.ones((1, 1), dtype=bool)
    assert colours(pixels, mask, HKO7)[0, 0].tolist() == [38, 99, 181]  # 25 dBZ: 2.9 mm/h
    assert colours(pixels, mask, DWD)[0, 0].tolist() == [82, 150, 214]  # 1.2 mm/h


def shown(count: int, height: int, width: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (6 * n, rng.random((height, width)), rng.random((height, width)) < 0.8)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("side", "drawn"), [((16, 16), (120, 120)), ((200, 140), (200, 140)), ((30, 60), (60, 120))]
)
@pytest.mark.parametrize(("rows", "count"), [(3, 5), (2, 1)])
def test_a_strip_holds_every_frame_its_label_and_the_legend(
    side: tuple[int, int], drawn: tuple[int, int], rows: int, count: int
):
    names = ["input", "truth", "forecast"][:rows]
    picture = strip([(name, shown(count, *side)) for name in names], HKO7)
    # Two white pixels around each tile, 16 for its label, and 28 for the legend.
    height = 2 + rows * (drawn[0] + 16 + 2) + 28
    assert picture.shape == (height, 2 + count * (drawn[1] + 2), 3)
    assert picture.dtype == np.uint8


def test_frames_stand_row_by_row_in_order_of_time():
    def flat(level: float) -> tuple[int, np.ndarray, np.ndarray]:
        return 6, np.full((130, 130), level), np.ones((130, 130), dtype=bool)

    rates = [[0.2, 0.7, 1.5], [3.0, 7.0, 15.0]]
    rows = [
        (name, [flat(float(HKO7.pixel_from_rate(rate))) for rate in row])
        for name, row in zip(("truth", "forecast"), rates, strict=True)
    ]
    picture = strip(rows, HKO7)
    bands = dict(BANDS)
    for row, edges in enumerate([(0.1, 0.5, 1.0), (2.0, 5.0, 10.0)]):
        for column, edge in enumerate(edges):
            centre = picture[2 + row * 148 + 16 + 65, 2 + column * 132 + 65]
            assert centre.tolist() == list(bands[edge])


def test_the_label_names_row_and_lead_time():
    picture = {
        text: strip(
            [(text, [(minutes, np.zeros((120, 120)), np.ones((120, 120), dtype=bool))])], HKO7
        )
        for text, minutes in (("input", -6), ("truth", 6))
    }
    assert (picture["input"][2:18] < 100).any()
    assert not np.array_equal(picture["input"][2:18], picture["truth"][2:18])
    assert np.array_equal(picture["input"][18:], picture["truth"][18:])
