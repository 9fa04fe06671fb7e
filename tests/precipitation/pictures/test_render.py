"""Colours follow rain rate, what is masked is grey, and small frames are drawn too."""

import numpy as np
import pytest

from nowcast.precipitation.pictures.render import (
    BANDS,
    GAP,
    MASKED,
    NARROWEST,
    STRIP_TEXT,
    TILE_TEXT,
    colours,
    side_by_side,
    strip,
)
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


def inked(picture: np.ndarray) -> np.ndarray:
    """Where letters are: near black, which no band and no mask is."""
    return (picture < 70).all(-1)


@pytest.mark.parametrize(
    ("side", "drawn"),
    [((16, 16), (160, 160)), ((200, 240), (200, 240)), ((30, 60), (80, 160)), ((1, 1), (160, 160))],
)
@pytest.mark.parametrize(("rows", "count"), [(3, 5), (2, 1)])
def test_a_strip_holds_every_frame_its_label_and_the_legend(
    side: tuple[int, int], drawn: tuple[int, int], rows: int, count: int
):
    names = ["input", "truth", "forecast"][:rows]
    picture = strip([(name, shown(count, *side)) for name in names], HKO7)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == GAP + count * (drawn[1] + GAP)
    # Its own name and a line of times above each row, and no frame is thinned out.
    assert picture.shape[0] > rows * (drawn[0] + 2 * STRIP_TEXT * drawn[1])


@pytest.mark.parametrize("side", [24, 96, 228, 480])
def test_text_is_legible_where_tensorboard_shows_the_strip_400_pixels_wide(side: int):
    """A strip has five frames; capitals and figures are then 7 pixels high or more."""
    picture = strip([("truth", shown(5, side, side))], HKO7)
    scale = 400 / picture.shape[1]
    tile = max(side, NARROWEST)
    name = picture[: round(1.4 * STRIP_TEXT * tile)]
    lines = np.flatnonzero(inked(name).any(1))
    assert (lines[-1] - lines[0] + 1) * scale >= 7
    times = picture[len(name) : len(name) + GAP + round(1.4 * STRIP_TEXT * tile)]
    lines = np.flatnonzero(inked(times).any(1))
    assert (lines[-1] - lines[0] + 1) * scale >= 7
    assert name.min() < 70 and name.max() == 255  # black on white


def test_frames_stand_row_by_row_in_order_of_time():
    def flat(level: float) -> tuple[int, np.ndarray, np.ndarray]:
        return 6, np.full((200, 200), level), np.ones((200, 200), dtype=bool)

    rates = [[0.2, 0.7, 1.5], [3.0, 7.0, 15.0]]
    rows = [
        (name, [flat(float(HKO7.pixel_from_rate(rate))) for rate in row])
        for name, row in zip(("truth", "forecast"), rates, strict=True)
    ]
    picture = strip(rows, HKO7)
    bands = dict(BANDS)
    found = []
    for column in range(3):
        colours_down = picture[:-90, GAP + column * (200 + GAP) + 195].tolist()  # right of letters
        runs = [
            colour
            for at, colour in enumerate(colours_down[:-150])
            if colours_down[at : at + 150] == [colour] * 150
        ]
        found.append([list(each) for each in dict.fromkeys(map(tuple, runs))])
    expected = [(0.1, 2.0), (0.5, 5.0), (1.0, 10.0)]
    assert found == [[list(bands[edge]) for edge in edges] for edges in expected]


def test_labels_name_row_and_lead_time():
    def drawn(name: str, minutes: int) -> np.ndarray:
        frame = np.zeros((160, 160)), np.ones((160, 160), dtype=bool)
        return strip([(name, [(minutes, *frame)])], HKO7)

    band = round(1.4 * STRIP_TEXT * 160)
    picture, other, later = drawn("input", 6), drawn("truth", 6), drawn("input", 12)
    assert not np.array_equal(picture[:band], other[:band])
    assert np.array_equal(picture[band:], other[band:])
    assert np.array_equal(picture[:band], later[:band])
    assert not np.array_equal(picture[band:], later[band:])


def test_a_name_too_long_for_its_frame_is_cut_within_it():
    tile = np.zeros((200, 200)), np.ones((200, 200), dtype=bool)
    picture = side_by_side([("W" * 80, *tile), ("b", *tile)], HKO7)
    top = inked(picture[GAP : GAP + round(1.4 * TILE_TEXT * 200)])
    assert top[:, : GAP + 200].any()
    second = np.flatnonzero(top[:, GAP + 200 :].any(0))
    assert second[0] >= GAP and second[-1] < 30  # the b alone
