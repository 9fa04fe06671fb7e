"""Forest plots show each row, whatever its name, and what sticks out of the axis."""

import re

import pytest

from nowcast.core.report.forest import Forest, ForestRow, drawn_forests, figure_of_forests

BOTH = {"seeds": (-2.0, 1.0), "blocks": (-1.5, 0.5)}
ROW = ForestRow("B against A", -0.5, BOTH)
SIDES = ("better", "worse")


def lines_of(forest: Forest) -> list[tuple[float, float, float]]:
    """Intervals as drawn: low, high, and how far from the top in inches."""
    (axes,) = figure_of_forests([forest]).axes
    data = [line.get_xydata() for line in axes.lines]
    return [
        (x[0][0], x[1][0], x[0][1])
        for line, x in zip(axes.lines, data, strict=True)
        if len(x) == 2 and x[0][1] == x[1][1] and line.get_color() != "#dddddd"
    ]


def test_each_interval_is_a_line_of_its_own_below_the_one_before():
    drawn = lines_of(Forest("Error", [ROW, ROW], SIDES))
    assert [interval[:2] for interval in drawn] == [(-2.0, 1.0), (-1.5, 0.5)] * 2
    heights = [interval[2] for interval in drawn]
    assert heights == sorted(heights) and len(set(heights)) == 4


def test_the_axis_shows_zero_and_the_bound_and_cuts_what_does_not_set_it():
    far = ForestRow("B against a baseline", -50.0, {"blocks": (-60.0, -40.0)}, sets_scale=False)
    forest = Forest("Error", [far, ROW], SIDES, bound=3.0)
    low, high = forest.limits
    assert -4 < low < -3 and 3 < high < 4
    (axes,) = figure_of_forests([forest]).axes
    arrows = [line for line in axes.lines if line.get_marker() in "<>"]
    assert [(line.get_marker(), line.get_xdata()[0]) for line in arrows] == [("<", low)]
    (band,) = axes.patches
    assert band.get_x() == -3 and band.get_width() == 6
    assert Forest("Error", [ForestRow("same", 0.0, {})], SIDES).limits == (-1, 1)


def test_a_row_without_a_value_says_so_and_one_without_an_interval_is_a_dot():
    rows = [ForestRow("B against A", None, {}), ForestRow("C against A", 2.0, {})]
    forest = Forest("Error", rows, SIDES)
    (axes,) = figure_of_forests([forest]).axes
    texts = [text.get_text() for text in axes.texts]
    assert "undefined" in texts and "+2.00 %" in texts
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] == [2.0]
    assert forest.kinds == {}


@pytest.mark.parametrize("name", ["名前", "W" * 60, "$x_1$ <b>", "several words " * 8])
def test_any_name_is_drawn_as_text_of_the_page(name: str):
    forest = Forest("Error", [ForestRow(f"{name} against A", 0.1, BOTH)], SIDES)
    ((title, svg, _),) = drawn_forests([forest], "forest")
    assert title == "Error" and "<b>" not in svg
    assert len(forest.rows[0].lines) <= 2
    start = name[:5].replace("<", "&lt;")
    assert start in svg
    assert all(each.startswith("forest0-") for each in re.findall(r'\bid="([^"]+)', svg))


def test_several_plots_stand_side_by_side_without_overlap():
    figure = figure_of_forests([Forest(str(n), [ROW] * (1 + n % 2), SIDES) for n in range(5)], 0.5)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 5
    for n, one in enumerate(boxes):
        assert one.x0 >= 0 and one.x1 <= 1 and one.y0 >= 0 and one.y1 <= 1
        for other in boxes[:n]:
            assert not one.overlaps(other)
