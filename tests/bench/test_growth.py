"""Growth: every axis has its settings, and the exponent is that of the times."""

import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasters.encoder_forecaster import Stage
from scripts.bench import growth
from scripts.bench.growth import Growth, Work, measure, table


def test_settings_along_an_axis_differ_in_it_alone(monkeypatch: pytest.MonkeyPatch):
    taken: list[tuple[int, int, int]] = []
    monkeypatch.setattr(growth, "training_step", lambda *work: lambda: taken.append(work[:3]))
    threads = torch.get_num_threads()
    frames, side, batch = measure(
        threads, False, 5, frames=(20, 5), sides=(60, 240), batches=(2, 4, 8)
    )
    assert [work.amount("frames") for work in frames.works] == [10, 20, 40]
    assert side.works == (Work(10, 60, 4), Work(10, 120, 4), Work(10, 240, 4))
    assert batch.works == (Work(10, 120, 2), Work(10, 120, 4), Work(10, 120, 8))
    assert frames.seconds[1] == side.seconds[1] == batch.seconds[1]
    assert all(len(times) == 5 for row in (frames, side, batch) for times in row.seconds)
    orders = {tuple(taken[start : start + 7]) for start in range(0, 35, 7)}
    assert len(orders) > 1
    assert all(len(set(order)) == 7 for order in orders)


def test_real_steps_are_timed():
    stages = [Stage(channels=2, hidden=2, kernel=3, down=(3, 2, 1), up=(4, 2, 1))]
    threads = torch.get_num_threads()
    rows = measure(1, True, 2, (5, 6), (8, 12), (1, 2), Work(10, 16, 3), stages)
    torch.set_num_threads(threads)
    assert [(row.axis, row.precision) for row in rows] == [(axis, "bf16") for axis in growth.AXES]
    assert min(time for row in rows for times in row.seconds for time in times) > 0
    assert rows[1].document()["amounts"] == [64, 144, 256]


def test_exponent_is_of_the_amount_and_by_the_median():
    works = Work(side=60), Work(side=120), Work(side=240)
    row = Growth("side", "fp32", 2, works, ((1.0, 1.0, 9.0), (2.0, 2.0, 2.0), (4.0, 3.0, 5.0)))
    exponent, error = row.exponent()
    assert exponent == pytest.approx(0.5)  # time doubles where pixels quadruple
    assert error == pytest.approx(0, abs=1e-6)
    assert table([row]).splitlines()[2] == (
        "| pixels of a frame | fp32 | 2 | 10+10 frames, batch 4 | "
        "60x60: 1.00 s, 120x120: 2.00 s, 240x240: 4.00 s | 0.50 ± 0.00 |"
    )


def test_two_values_are_too_few():
    with pytest.raises(ConfigError, match=r"batch: .* at least 3 .* found 2, 4"):
        measure(1, False, 1, batches=(2,))
