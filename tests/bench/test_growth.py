"""Growth: every axis has its settings, and the exponent is that of the times."""

import pytest
import torch

from nowcast.precipitation.forecasters.encoder_forecaster import Stage
from scripts.bench import growth
from scripts.bench.benchmark import Asked
from scripts.bench.growth import exponent, measure


def test_settings_along_an_axis_differ_in_it_alone(monkeypatch: pytest.MonkeyPatch):
    taken: list[tuple[int, int, int]] = []
    monkeypatch.setattr(growth, "training_step", lambda *work: lambda: taken.append(work[:3]))
    asked = Asked(threads=[torch.get_num_threads()], precision=["fp32"], pairs=5)
    axes = {"clips": (2, 4, 8), "frames": (5, 10), "side": (60, 120)}
    clips, frames, side = measure(asked, axes)
    assert set(taken) == {(2, 10, 120), growth.FIXED, (8, 10, 120), (4, 5, 120), (4, 10, 60)}
    assert (clips["values"], frames["values"]) == ([2, 4, 8], [5, 10])
    assert clips["seconds"][1] == frames["seconds"][1] == side["seconds"][1]
    assert len({tuple(taken[start : start + 5]) for start in range(0, 25, 5)}) > 1  # orders


def test_real_steps_are_timed():
    stages = [Stage(channels=2, hidden=2, kernel=3, down=(3, 2, 1), up=(4, 2, 1))]
    threads = torch.get_num_threads()
    axes = {"clips": (1, 2, 3), "frames": (5, 6, 10), "side": (8, 12, 16)}
    rows = measure(Asked(threads=[1], precision=["bf16"], pairs=2), axes, (3, 10, 16), stages)
    torch.set_num_threads(threads)
    assert [row["axis"] for row in rows] == list(growth.AXES)
    assert min(time for row in rows for times in row["seconds"] for time in times) > 0
    line = growth.BENCHMARK.table(rows).splitlines()[4]
    assert line.startswith("| pixels of a frame | bf16 | 1 | batch 3, 10+10 frames | 8²: ")


def test_exponent_is_of_the_amount_and_by_the_median():
    # Time doubles where pixels quadruple.
    found = exponent([60**2, 120**2, 240**2], [(1.0, 1.0, 9.0), (2.0, 2.0, 2.0), (4.0, 3.0, 5.0)])
    assert found["exponent"] == pytest.approx(0.5)
    assert found["error"] == pytest.approx(0, abs=1e-6)
