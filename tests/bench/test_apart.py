"""A process of its own: what it returns, what it raises, and that its memory is its own."""

from collections.abc import Callable

import pytest
import torch

from nowcast.bench.apart import apart

MIB = 1 << 20


def counter(start: int) -> Callable[[], object]:
    calls = [start]

    def count() -> int:
        calls[0] += torch.get_num_threads()
        return calls[0]

    return count


def hoarder(mib: int) -> Callable[[], object]:
    return lambda: float(torch.ones(mib * MIB // 4).sum())


def failing(at_once: bool) -> Callable[[], object]:
    def fail() -> None:
        raise ZeroDivisionError("in the other process")

    if at_once:
        fail()
    return fail


def test_calls_take_place_there_one_after_the_other():
    with apart(counter, 5, threads=2) as one, apart(counter, 0) as other:
        assert [one(), other(), one(), other()] == [7, 1, 9, 2]
        assert one.seconds > 0


def test_the_most_memory_is_counted_from_before_the_work():
    with apart(hoarder, 64) as large, apart(hoarder, 1) as small:
        large(), small()
        assert 60 < large.peak_mib() < 120
        assert small.peak_mib() < 40


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_raised_there_is_raised_here(at_once: bool):
    with (
        pytest.raises(ZeroDivisionError, match="in the other process"),
        apart(failing, at_once) as function,
    ):
        function()
