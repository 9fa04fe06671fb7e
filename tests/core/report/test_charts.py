"""What is drawn: bands within what a score can be, and lines that lie on each other told."""

import numpy as np
import pytest

from nowcast.core.report.charts import Chart, drawn, figure_of, legend_names, lines


def curve(*values: float | None) -> dict[float, float | None]:
    return {float(at): value for at, value in enumerate(values, 5)}


NEAR_ZERO = [curve(0.01, 0.02), curve(0.10, 0.00), curve(0.00, 0.00)]
NEAR_ONE = [curve(0.99, 1.0), curve(0.90, 1.0), curve(1.00, 0.95)]


@pytest.mark.parametrize("name", ["NEAR_ZERO", "NEAR_ONE"])
def test_bands_stay_within_the_limits_of_the_score(name: str):
    def ends(limits: tuple[float | None, float | None]) -> tuple[float, float]:
        chart = Chart("CSI", "minutes", {"a": globals()[name]}, limits=limits)
        (band,) = figure_of(chart, lines(["a"])).axes[0].collections
        heights = np.concatenate([np.asarray(path.vertices)[:, 1] for path in band.get_paths()])
        return heights.min(), heights.max()

    low, high = ends((None, None))
    assert low < 0 or high > 1  # what would be drawn without limits
    low, high = ends((0.0, 1.0))
    assert 0 <= low < high <= 1


def test_lines_that_lie_on_each_other_are_named():
    same = [curve(0.5, None, 0.25)]
    curves = {"a": same, "b": [curve(0.5, None, 0.3)], "c": same, "d": same}
    chart = Chart("CSI", "minutes", curves)
    assert chart.identical == [["a", "c", "d"]]
    ((title, _, identical),) = drawn([chart], lines(curves), "x")
    assert (title, identical) == ("CSI", "a = c = d")
    assert drawn([Chart("CSI", "minutes", {"a": same})], lines("a"), "x")[0][2] == ""


def test_the_same_mean_of_other_seeds_is_another_band():
    wide = [curve(0.0), curve(1.0)]
    assert Chart("x", "y", {"a": wide, "b": [curve(0.5), curve(0.5)]}).identical == []


def test_a_legend_says_who_is_the_same():
    assert legend_names({"a": [1], "b": [2], "c": [1]}) == {"a": "a = c", "b": "b", "c": "c = a"}
