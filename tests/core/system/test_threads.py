"""Threads give results in order, are never far ahead, and an error comes in its turn."""

import threading
import time

import pytest
import torch

from nowcast.core.errors import ConfigError
from nowcast.core.system.threads import AHEAD, in_order, one_thread


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers: int):
    def slow_if_early(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(in_order(slow_if_early, range(20), workers)) == [n * n for n in range(20)]


def test_no_more_than_a_few_are_taken_ahead():
    taken: list[int] = []
    results = in_order(lambda number: number, (taken.append(n) or n for n in range(1000)), 2)
    assert next(results) == 0
    assert len(taken) <= AHEAD * 2 + 1
    results.close()


def test_an_error_comes_in_its_turn_and_what_waits_is_dropped():
    begun: list[int] = []
    lock = threading.Lock()

    def fails(number: int) -> int:
        with lock:
            begun.append(number)
        if number == 2:
            raise ValueError("two")
        return number

    found: list[int] = []
    with pytest.raises(ValueError, match="two"):
        for result in in_order(fails, range(1000), 2):
            found.append(result)  # noqa: PERF402
    assert found == [0, 1] and len(begun) < 20


def test_workers_are_at_least_one():
    with pytest.raises(ConfigError, match="workers: expected at least 1, found 0"):
        list(in_order(str, [1], 0))


def test_one_thread_meanwhile_even_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
