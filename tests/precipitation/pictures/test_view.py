"""The map lies where the Earth has it, and a view is what of a frame has data."""

from dataclasses import replace

import numpy as np
import pytest

from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.pictures.located import located
from nowcast.precipitation.pictures.view import LINES, Mark, View
from nowcast.precipitation.pictures.world import world
from tests.made_forecasts import KNMI

NETHERLANDS = Description("nl", "KNMI", 5, 765, 700, 200.0, 1.6, grid=KNMI)
DISC = np.hypot(*(np.mgrid[:765, :700] - np.array([[[400]], [[350]]]))) < 200


def test_cities_and_coasts_lie_where_they_are():
    found = located(NETHERLANDS)
    assert found is not None
    column, row = found.places[found.names.index("Amsterdam")]
    latitude, longitude = KNMI.degrees(np.array(row), np.array(column))
    assert abs(latitude - 52.374) < 0.01 and abs(longitude - 4.89) < 0.01
    assert "Paris" not in found.names and "London" not in found.names
    coast = np.concatenate([line for kind, line in found.lines if kind == "coast"])
    # The beach of Zandvoort, 52.371 N 4.525 E, and De Bilt, 40 km from any coast.
    for place, near in (((52.371, 4.525), True), ((52.1, 5.18), False)):
        row, column = KNMI.pixels(np.array(place[0]), np.array(place[1]), 700)
        assert bool(np.hypot(*(coast - (column, row)).T).min() < 20) is near
    assert {kind for kind, _ in found.lines} == {"coast", "border", "lake"}


@pytest.mark.parametrize("west", [170.0, -190.0])
def test_a_grid_over_the_date_line_has_both_sides(west: float):
    grid = Grid("+proj=longlat +datum=WGS84", west, -10.0, 0.05, 0.05)
    fiji = Description("fiji", "nobody", 10, 300, 400, 200.0, 1.6, grid=grid)
    found = located(fiji)
    assert found is not None
    columns = np.concatenate([line[:, 0] for _, line in found.lines])
    assert (columns < 200).any() and (columns > 205).any()  # Viti Levu, and Lau
    assert all(np.abs(np.diff(line, axis=0)).max() < 100 for _, line in found.lines)


def test_without_a_grid_there_is_no_map():
    assert located(replace(NETHERLANDS, grid=None)) is None
    odd = replace(KNMI, projection="nonsense")
    assert located(replace(NETHERLANDS, grid=odd)) is None


def test_a_view_is_what_has_data_and_a_part_of_the_archive_keeps_its_place():
    view = View.of(NETHERLANDS, DISC, 800)
    assert view.rows == (190, 611) and view.columns == (141, 560)
    assert (view.width, view.height) == (800, round(800 * 421 / 419))
    assert view.km_per_px == pytest.approx(419 / 800)
    part = NETHERLANDS.part(190, 141, 421, 419)
    whole, own = located(NETHERLANDS), located(part)
    assert whole is not None and own is not None
    there = whole.places[whole.names.index("Utrecht")]
    np.testing.assert_allclose(own.places[own.names.index("Utrecht")] + (141, 190), there)
    nothing = View.of(NETHERLANDS, np.zeros((765, 700), bool), 800)
    assert nothing.rows == (0, 765) and nothing.columns == (0, 700)


def test_lines_marks_and_the_bar_are_drawn_over_the_frame():
    frame = np.full((765, 700, 3), 250, np.uint8)
    plain = replace(View.of(NETHERLANDS, DISC, 800), map=None, km_per_px=None)
    assert (np.asarray(plain.picture(frame)) == 250).all()
    view = View.of(NETHERLANDS, DISC, 800, [Mark("De Bilt", 415, 360)])
    drawn = np.asarray(view.picture(frame))
    for kind in LINES:
        assert (drawn == LINES[kind]).all(-1).any(), kind
    bar = np.flatnonzero((drawn[-14:-11] == 20).all((0, 2)))
    assert len(bar) == pytest.approx(100 / (419 / 800), abs=2)  # 100 km
    x, y = ((360.5 - 141) * 800 / 419, (415.5 - 190) * 800 / 419)
    assert (drawn[round(y), round(x)] == (200, 0, 0)).all()


def test_the_file_of_the_world_is_small_and_holds_what_it_says():
    found = world()
    assert len(found.names) == len(found.places) > 5000
    assert np.abs(found.points).max(0)[0] <= 180 and found.points[:, 1].max() < 84
    place = dict(zip(found.names, found.places.tolist(), strict=True))
    assert place["Trento"] == pytest.approx((11.12, 46.07), abs=0.01)
